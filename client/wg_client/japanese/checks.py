"""Methods, failures, and what acceptance checks find."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = {
    "random initialisation": "乱数の初期値",
    "local-only": "自社のみ",
    "generated": "生成された重み",
    "mean-aligned + local training": "平均を合わせた重み＋自社での学習",
    "posterior head (empirical Bayes)": "事後ヘッド（経験ベイズ）",
    "generated + local training": "生成された重み＋自社での学習",
    "generated + local training, averaged with local-only": (
        "生成された重み＋自社での学習（自社のみのモデルとの平均）"
    ),
    "another plant's head": "他工場のヘッド",
    "another plant's head + local training": "他工場のヘッド＋自社での学習",
    "no gain over local-only": "自社のみより良くない",
    "accuracy not above the commonest class": "最も多いクラスを答えるのと変わらない精度",
    "a class that is hardly recognised": "ほとんど見分けられないクラス",
    "probabilities that mislead": "当てにならない確率",
    "not robust to the plant's own changes": "工場で起こる変化に弱い",
    "signs of a backdoor": "バックドアの兆候",
    "predictions that depend on the split": "データの分け方で変わる予測",
    "not finite, or too large": "有限でない、または大きすぎる値",
    "too slow or too large here": "ここでは遅すぎる、または大きすぎる",
    "classes exchanged": "クラスの取り違え",
    "no label to check by": "検査に使うラベルがない",
    "passed": "合格",
    "warning": "警告",
    "failed": "不合格",
    "class {number}": "クラス {number}",
    "brighter": "明るくする",
    "darker": "暗くする",
    "blurred": "ぼかす",
    "noise": "ノイズ",
    "shifted": "ずらす",
    "louder": "振幅を大きくする",
    "quieter": "振幅を小さくする",
    "dropped channel": "チャンネルの停止",
    "later start": "開始をずらす",
    "noise patch": "ノイズの小片",
    "striped patch": "しま模様の小片",
    "plain patch": "無地の小片",
    "overlay": "重ね合わせ",
    "wave": "波",
    "pulse": "パルス",
    "tone": "単音",
    "hiss": "雑音",
    "small letters": "小文字にする",
    "full stop": "文末の句点を変える",
    "typing error": "打ち間違いを入れる",
    "rare word": "珍しい単語",
    "signs at the end": "末尾の記号",
}

_FOUND = {
    "Accuracy {right:.1f} % out of fold, and at least {lower:.1f} % with {confidence:g} %"
    " confidence; {least:.1f} % are asked.": (
        "評価用データでの精度は {right:.1f} %、信頼度 {confidence:g} % で少なくとも {lower:.1f} %"
        " です。必要なのは {least:.1f} % です。"
    ),
    "Accuracy {right:.1f} % out of fold, and at least {lower:.1f} % with {confidence:g} %"
    " confidence; {least:.1f} % are asked, the share of the commonest class.": (
        "評価用データでの精度は {right:.1f} %、信頼度 {confidence:g} % で少なくとも {lower:.1f} %"
        " です。必要なのは {least:.1f} %（最も多いクラスの割合）です。"
    ),
    "Evidence for a backdoor {score:.2f}; {limit:g} is allowed, and fewer than one in twenty clean"
    " heads are above 1. Of marks made up here, those of kind '{kind}' move the most records to one class,"
    " {label}: {flips:.0f} in 100 more than they do with heads of the plant's own.": (
        "バックドアの疑いは {score:.2f} です（許容値 {limit:g}、問題のないモデルで 1 を超えるのは 20 個に 1 個"
        "未満です）。ここで作った目印のうち「{kind}」が最も多くのデータを一つのクラス {label} に"
        "動かします。自社のモデルより 100 件中 {flips:.0f} 件多い数です。"
    ),
    "Calibration error {error:.1f} points ({how} by {gap:.1f}); {limit:.1f} are allowed, and chance"
    " alone gives up to {chance:.1f} on {records} records.": (
        "確率のずれは {error:.1f} ポイントです（{how}、{gap:.1f}）。許容値は {limit:.1f} で、"
        "{records} 件では偶然だけでも {chance:.1f} までずれます。"
    ),
    "overconfident": "自信過剰",
    "underconfident": "控えめ",
    "A record takes {milliseconds:.0f} ms here, and the weights {mebibytes:.1f} MiB; {most:g} ms and"
    " {limit:g} MiB are allowed.": (
        "1 件の判定に {milliseconds:.0f} ms、重みに {mebibytes:.1f} MiB かかります"
        "（許容値は {most:g} ms と {limit:g} MiB）。"
    ),
    "With {named} exchanged, {gap:.1f} points more of the records would be right, surely"
    " {sure:.1f}.": (
        "{named} を入れ替えると正解が {gap:.1f} ポイント増えます（確実なのは {sure:.1f}）。"
    ),
    "No exchange of classes would make more of the records right.": (
        "クラスをどう入れ替えても正解は増えません。"
    ),
    "{bad} weights are not finite; the largest logit of an own record is {largest:.3g}, {limit:g} is"
    " allowed.": (
        "有限でない重みは {bad} 個です。自社データの最大のロジットは {largest:.3g}"
        "（許容値 {limit:g}）です。"
    ),
    "Log loss on new records is {loss:.3f} nats {lower} than local-only's, standard error"
    " {error:.3f}; more than {asked:g} of these lower is asked. Right answers: {right:+.1f} ±"
    " {sd:.1f} points{more}.": (
        "新しいデータでの対数損失は自社のみのモデルより {loss:.3f} nat {lower}です"
        "（標準誤差 {error:.3f}、その {asked:g} 倍を超える低下が必要）。"
        "正解率の差は {right:+.1f} ± {sd:.1f} ポイント{more}です。"
    ),
    "lower": "低い値",
    "higher": "高い値",
    ", and they must be more": "（増えていなければなりません）",
    "Of {count} plausible changes, tried on {records} records, '{worst}' costs the most: {lost:.1f}"
    " points of accuracy, where local-only loses {local:.1f}.": (
        "起こりうる変化 {count} 種類を {records} 件で試したところ、「{worst}」の影響が最大で、"
        "精度が {lost:.1f} ポイント下がりました。自社のみのモデルでは {local:.1f} です。"
    ),
    "Two runs on other splits of the records call {found:.1f} % of them differently (local-only"
    " {own:.1f} %); {limit:.1f} % are allowed.": (
        "データの分け方を変えた 2 回の結果は {found:.1f} % で食い違いました"
        "（自社のみは {own:.1f} %、許容値 {limit:.1f} %）。"
    ),
    "There are no labels here: nothing says how often the model is right.": (
        "ここにはラベルがないため、モデルがどれだけ正しいかわかりません。"
    ),
    "The worst class, {label}, is recognised in {recall:.1f} % of its {records} records; {least:.1f}"
    " % are asked.": (
        "最も見分けにくいクラス {label} は {records} 件中 {recall:.1f} % しか見分けられません"
        "（必要なのは {least:.1f} %）。"
    ),
}

_REASONS = {
    "No other site has released statistics of these classes, and the server has no records of this"
    " kind of plant: what was delivered knows no more of them than your own records, and was not"
    " judged.": (
        "これらのクラスの統計を出したサイトはほかになく、サーバーにもこの種の工場のデータが"
        "ありません。届いたモデルは自社のデータ以上のことを知らないため、評価していません。"
    ),
    "No delivered model was shown to be better than local-only on local records.": (
        "届いたモデルのどれも、自社のデータで自社のみのモデルより良いとは確認できませんでした。"
    ),
    "Weights that were made from your own release were not judged: your records had a part in"
    " them.": (
        "自社が出した統計から作られた重みは、自社のデータが関わっているため評価していません。"
    ),
    "WG-F11: no local labels: nothing can be checked, and acceptance.without_labels is off, or no"
    " model passed the checks that need none": (
        "WG-F11: ラベルがないため検査できません。acceptance.without_labels が無効か、"
        "ラベルなしで行う検査に合格したモデルがありません。"
    ),
    "WG-F11: no local labels, and no reason to believe what was delivered: no other site has"
    " released statistics of these classes, and the server has no records of this kind of plant."
    " Label some records, or wait for another site's release": (
        "WG-F11: ラベルがなく、届いた重みを信用する根拠もありません。同じクラスの統計を出した拠点が"
        "ほかになく、サーバーにもこの種の工場のデータがありません。いくつかのデータにラベルを付けるか、"
        "ほかの拠点のリリースを待ってください。"
    ),
    "the server knows this kind of plant from its own records": (
        "サーバーが、この種の工場を自身のデータで知っている"
    ),
    "other sites have released statistics of these classes": (
        "ほかの拠点が同じクラスの統計を出している"
    ),
    "There are no labels here: nothing was checked, and local-only is impossible. It is kept because"
    " {why}. At development sites such models named {middle} % of records right; at one in ten fewer"
    " than {low} %, at one in ten more than {high} %.": (
        "ここにはラベルがないため、何も検査しておらず、自社のみのモデルも作れません。"
        "採用した理由は「{why}」ことです。開発用の拠点では、このようなモデルは {middle} % を正しく"
        "判定しました（10 拠点に 1 拠点は {low} % 未満、1 拠点は {high} % 超）。"
    ),
}

MESSAGES: Mapping[str, str] = {**_NAMES, **_FOUND, **_REASONS}
