"""The demo in Japanese: English template -> Japanese one (``wg_common.language``)."""

from __future__ import annotations

from collections.abc import Mapping

from wg_client import japanese
from wg_common.language import Catalogue

_STORIES = {
    "Few labels, of all classes": "ラベルは少ないが、全クラスにある",
    "Its own pictures show every class. Others can add little, so this is not what the product is for."
    " The plant tests both models on its own pictures, and keeps its own unless the other is better.": (
        "自社の画像に全クラスがそろっています。ほかの工場から得られるものは少なく、本製品が目的とする場面ではありません。"
        "工場は両方のモデルを自社の画像で試し、届いたほうが良くなければ自社のモデルを使い続けます。"
    ),
    "Two classes never seen": "二つのクラスを見たことがない",
    "Nobody learns what they have never seen. What other plants sent says what these classes look like,"
    " without one of their pictures.": (
        "見たことのないものは学習できません。ほかの工場が送った統計から、これらのクラスの見え方がわかります。"
        "ほかの工場の画像は一枚も使いません。"
    ),
    "No labels at all": "ラベルがまったくない",
    "Without labels the plant can neither train a model nor test one. It gets a model from what other"
    " plants sent. Before it relies on that, somebody should label a few pictures.": (
        "ラベルがなければ、モデルの学習も確認もできません。ほかの工場が送った統計から作ったモデルが届きます。"
        "それに頼る前に、誰かが何枚かの画像にラベルを付けてください。"
    ),
    "A known kind, a new camera": "既知の種類、新しいカメラ",
    "The operator has pictures of this kind, taken elsewhere by another camera. The plant gets a model"
    " made from them, and may train it on with its own few.": (
        "運用者は、同じ種類の画像を別の場所、別のカメラで撮って持っています。工場にはそれから作ったモデルが届き、"
        "自社の少ない画像で追加学習できます。"
    ),
    "A small device": "小さな機器",
    "The device is too small for the network that the other plants use. It gets a whole network that"
    " fits, through files, without a connection.": (
        "この機器には、ほかの工場が使うネットワークは大きすぎます。機器に収まるネットワーク全体が、"
        "通信なしで、ファイルで届きます。"
    ),
}
_WORDS = {
    "picture": "画像",
    "pictures": "画像",
    "{records} pictures without labels": "ラベルなしの画像 {records} 枚",
    "{each} pictures of {seen} of {classes} classes": (
        "{classes} クラスのうち {seen} クラスの画像が各 {each} 枚"
    ),
    "{each} pictures of each of {classes}": "{classes} クラスの画像が各 {each} 枚",
    "{count} point": "{count} ポイント",
    "{count} points": "{count} ポイント",
    "{others} and {last}": "{others} と {last}",
    "{outcome}.": "{outcome}。",
    "keeps nothing: nothing is known": "何も採用しません（手がかりなし）",
    "has a model where there was none": "なかったモデルができました",
    "keeps its own": "自社のモデルのまま",
    "keeps its own (offered: {share})": "自社のモデルのまま（届いたもの {share}）",
    "no clear difference": "はっきりした差はありません",
    "better by {size}": "{size}良くなりました",
    "WORSE by {size}": "{size}悪くなりました",
    "Difference {mean:+.1f} points, give or take {error:.1f}.": (
        "差は {mean:+.1f} ポイント（誤差およそ {error:.1f}）です。"
    ),
    "Of the {records} test pictures of {names}, which it had never seen: {alone} right alone, {kept}"
    " with weightgate.": (
        "見たことのない {names} のテスト画像 {records} 枚では、正解は自社だけで {alone}、"
        "weightgate で {kept} です。"
    ),
    "Guessing is right in {share}.": "当て推量で当たるのは {share} です。",
    "{thousands:.0f} thousand numbers, {size:.0f} kB on the device.": (
        "機器の上で数値 {thousands:.0f} 千個、{size:.0f} kB です。"
    ),
    "{spent} of {cap:g}": "{spent} / {cap:g}",
    "Alone, and with weightgate: right answers on {several} that no training, no choice and nothing that"
    " was sent has seen. What loses is shown.": (
        "「自社だけ」と「weightgate」は、学習にも選択にも送信にも使っていない{several}での正答率です。"
        "負けたものも示します。"
    ),
    "Privacy spent: of a budget that each plant sets once. What left is sums with noise, never a {one}."
    " Whatever anybody concludes from them, one {one} more or less makes it at most {times:.0f} times"
    " likelier (e to the power of {spent}). 1 is strong, 4 is usual here, above 20 is no promise.": (
        "「使った予算」は、各工場が一度だけ決めるプライバシー予算のうちの量です。工場から出たのはノイズを加えた合計で、"
        "{one}は出ていません。誰が何を推論しても、{one}が一件多いか少ないかで、その確率は最大 {times:.0f} 倍"
        "（e の {spent} 乗）にしかなりません。1 は強く、4 はここでは普通、20 を超えると約束になりません。"
    ),
    "What came of it": "結果",
    "Plant": "工場",
    "What it has, and what came of it": "持っているものと結果",
    "Names\nalone": "名前\nだけ",
    "Alone": "自社\nだけ",
    "With\nweightgate": "weight-\ngate",
    "Privacy\nspent": "使った\n予算",
}
_PAGE = {
    "weightgate: what it is for, and where not": "weightgate：役立つ場面、役立たない場面",
    "What weightgate is for, and where not": "weightgate が役立つ場面、役立たない場面",
    "A server and five plants ran as separate programs. No plant showed a picture to anybody. Every figure"
    " is of this run, and of pictures that no training, no choice and nothing that was sent has seen. What"
    " loses is shown.": (
        "サーバーと五つの工場を、別々のプログラムとして動かしました。どの工場も、画像を誰にも見せていません。"
        "数値はすべて今回のもので、学習にも選択にも送信にも使っていない画像で測りました。負けたものも示します。"
    ),
    "Plant {name}: {title}. It has {has}.": "工場 {name}：{title}。持っているもの：{has}。",
    "stamped digits": "刻印された数字",
    "steel surface": "鋼板の表面",
    "circuit boards": "プリント基板",
    "Some of what plant {name} sees": "工場 {name} の画像の例",
    "alone": "自社だけ",
    "with weightgate": "weightgate",
    "offered": "届いたもの",
    "Privacy spent: {spent}. Left the plant: {size:.0f} kB of noisy sums and proofs. Pictures that left:"
    " none.": (
        "使った予算：{spent}。工場から出たもの：ノイズを加えた合計と証明 {size:.0f} kB。出た画像：なし。"
    ),
    "How to read it": "見方",
    "The digits are real (scikit-learn's, 8 by 8 points, shown under three cameras). The steel surface is"
    " drawn by the product's own picture library.": (
        "数字は本物です（scikit-learn のデータ、8 × 8 点、三つのカメラで撮った見え方）。"
        "鋼板の表面は本製品の画像ライブラリーで描きました。"
    ),
    "Circuit boards (DeepPCB) and hot-rolled steel (NEU), each part under another camera.": (
        "プリント基板（DeepPCB）と熱間圧延鋼板（NEU）を、工場ごとに別のカメラの見え方にしました。"
    ),
    "The thin line on a bar is one standard error to each side.": (
        "棒の上の細い線は、左右に標準誤差一つ分です。"
    ),
    "Every model of every plant": "全工場の全モデル",
    "Right answers in %, and one standard error; * is what the plant kept.": (
        "正答率（%）と標準誤差。* は工場が採用したものです。"
    ),
    "test pictures": "テスト画像",
    "Terms: docs/glossary.md. Each plant's own report lies beside this page: NAME/report.html.": (
        "用語：docs/glossary.md。各工場のレポートはこのページの隣の（工場名）/report.html にあります。"
    ),
    "What did it cost in privacy?": "プライバシーの負担",
    "plant": "工場",
    "spent (ε at δ)": "使用量（ε、δ）",
    "of a cap of": "上限",
    "bytes sent": "送信バイト",
    "bytes received": "受信バイト",
    "ledger entries": "台帳のエントリ",
    "an auditor's verdict": "監査の判定",
    "{epsilon:.3f} at {delta:g}": "{epsilon:.3f}（δ {delta:g}）",
    "Computed by the auditor's own program, from each plant's ledger and from what the server hands to"
    " auditors (evidence): keys, checkpoints, every file that came. The auditor's pages, with what nobody"
    " can check: NAME/audit.html.": (
        "監査人のプログラムが、各工場の台帳と、サーバーが監査人に渡すフォルダー（evidence：鍵、チェックポイント、"
        "届いた全ファイル）から計算しました。監査のページ（誰にも確認できないことも載っています）："
        "（工場名）/audit.html。"
    ),
    "Are the weights new?": "重みは新しいものか",
    "Weights made in this run among those of the zoo": "今回作った重みと動物園の重み",
    "zoo": "モデル動物園（公開タスク集）",
    "made for {name}": "{name} 向け",
    "One dot is the weights of one class, seen along the two directions in which the zoo's differ most.": (
        "点一つがクラス一つの重みで、動物園の重みの違いが最も大きい二方向から見ています。"
    ),
    "The nearest entry of the zoo is {distance:.2f} times as far as neighbours within the zoo are"
    " (median); a copy would be at 0.": (
        "動物園の中で最も近いものまでの距離は、動物園の中の隣どうしの距離（中央値）の {distance:.2f} 倍です。"
        "写しなら 0 です。"
    ),
    "Generator: {parameters:,} parameters, trained on {tasks} tasks in {training:.0f} s; one plant's"
    " weights take {sampling:.2f} s.": (
        "生成器：パラメーター {parameters:,} 個、{tasks} 個のタスクで {training:.0f} 秒間学習しました。"
        "一工場分の重みを作るのに {sampling:.2f} 秒かかります。"
    ),
    "A plant of a kind that the operator knows gets weights of the zoo, nearly as they are.": (
        "運用者が知っている種類の工場には、動物園の重みがほぼそのまま届きます。"
    ),
    "Where did the time go?": "時間の内訳",
    "step": "段階",
    "by the clock": "実時間",
    "of a processor": "CPU 時間",
    "{seconds:.1f} s": "{seconds:.1f} 秒",
}
_STEPS = {
    "plants' data": "工場のデータ",
    "server: keys and zoo": "サーバー：鍵と動物園",
    "server: train the generator; plants enrol meanwhile": (
        "サーバー：生成器の学習（その間に工場が登録）"
    ),
    "statistics out, weights in": "統計を送り、重みを受け取る",
    "test on unseen records": "見せていない画像で試験",
    "audit": "監査",
    "server: zoo of notes, generator": "サーバー：記録の動物園と生成器",
    "enrol the plants": "工場の登録",
    "test on unseen notes, audit": "見せていない記録で試験、監査",
    "training: {log}": "学習の経過：{log}",
    "{name}: {records} records stay; {integers} noisy integers would leave, at epsilon {after:.3g} of"
    " {cap}": (
        "{name}：データ {records} 件は工場に残ります。出るのはノイズを加えた整数 {integers} 個、"
        "ε は {cap} のうち {after:.3g}"
    ),
    "accepted for the demonstration although its card fails: {failed}": (
        "モデルカードは不合格ですが、デモのために承認します：{failed}"
    ),
    "generator accepted for the demonstration although its card fails": (
        "生成器のモデルカードは不合格ですが、デモのために承認します"
    ),
    "demo failed: {error}": "デモは失敗しました：{error}",
    "interrupted; every process of the demo has been ended": (
        "中断しました。デモのプロセスはすべて終了しました"
    ),
}
_NOTES = {
    "Few labels": "ラベルが少ない",
    "note": "記録",
    "notes": "記録",
    "English": "英語",
    "Japanese": "日本語",
    ", classes named in {named}": "（クラス名は{named}）",
    "{records} {written} notes without labels{names}": "ラベルなしの{written}の記録 {records} 件{names}",
    "{each} {written} notes of {seen} of {classes} classes{names}": (
        "{classes} クラスのうち {seen} クラスの{written}の記録が各 {each} 件{names}"
    ),
    "{each} {written} notes of each of {classes} classes{names}": (
        "{classes} クラスの{written}の記録が各 {each} 件{names}"
    ),
    "Names alone: each note gets the class whose name is most like it. That needs no weightgate.": (
        "「名前だけ」は、名前が最も近いクラスを各記録に付けたものです。weightgate は要りません。"
    ),
    "The notes are made up by the product's own library, as those of its training are: so the figures"
    " flatter. docs/benchmark-text.md has figures of real notes.": (
        "記録は、学習に使うものと同じく、本製品のライブラリーが作ったものです。そのため数値は実際より良く見えます。"
        "本物の記録での数値は docs/benchmark-text.md にあります。"
    ),
}
SENTENCES: Mapping[str, str] = {**_STORIES, **_WORDS, **_PAGE, **_STEPS, **_NOTES}
JAPANESE = Catalogue({**japanese.JAPANESE, **SENTENCES}, japanese.JAPANESE.errors)
"""What the demo says, and what the product's own commands and pages do."""
