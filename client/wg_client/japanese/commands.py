"""Commands. What a program reads (``--json``, logs) stays English."""

from __future__ import annotations

from collections.abc import Mapping

_CHECK = {
    "{site}: data set {dataset}, {path}": "{site}：データセット {dataset}、{path}",
    "  snapshot {number}, frozen {when} UTC; a release is made from it and nothing else": (
        "  スナップショット {number}（{when} UTC に凍結）。リリースはこれだけから作られます"
    ),
    "local encoder {name} ({sha256}), licence {licence}: {features} further features that stay"
    " here; {seconds:.2g} s of processor time a record, about {megabytes:.0f} MB of memory": (
        "ローカルエンコーダー {name}（{sha256}）、ライセンス {licence}：外に出ない特徴量がさらに {features} 個。データ 1 件あたりプロセッサー時間 {seconds:.2g} 秒、メモリー約 {megabytes:.0f} MB"
    ),
    "    a freeze of {records} records takes {seconds:.0f} s more with it": (
        "    データ {records} 件の凍結には、これにより {seconds:.0f} 秒多くかかります"
    ),
    "  {left_out} left out, {duplicates} counted with an equal one": (
        "  {left_out} 件を除外、{duplicates} 件は同じ内容のものと合わせて数えます"
    ),
    "  {found}: wg-client freeze makes version {number}, whose releases are charged anew": (
        "  {found}。wg-client freeze で版 {number} ができ、そのリリースは新たに計上されます"
    ),
    "the folder has {more} more, {fewer} fewer, {touched} of another size or date": (
        "フォルダーの変化：追加 {more} 件、削除 {fewer} 件、サイズか日付の変更 {touched} 件"
    ),
    "  {records} records{units}, {unlabelled} without a label": (
        "  データ {records} 件{units}、うちラベルなし {unlabelled} 件"
    ),
    " in {units} privacy units": "（プライバシー単位 {units} 個）",
    "none: can be delivered, cannot be learnt here": "なし（届くことはあっても、ここでは学習できません）",
    "  {modality}: {shown}{more}": "  {modality}：{shown}{more}",
    "{count} of {size}": "{size} が {count} 件",
    "images": "画像",
    "windows": "センサー窓",
    "texts": "文章",
    "images, sensor windows and texts": "画像、センサー窓、文章",
    "what would leave, once:": "一度だけ工場から出るもの：",
    "    {name:8} {shape:>9} = {integers:6} integers, noise {noise}": (
        "    {name:8} {shape:>9} = 整数 {integers:6} 個、ノイズ {noise}"
    ),
    "    {integers} integers, {size} bytes; signature and proofs come on top": (
        "    整数 {integers} 個、{size} バイト（ほかに署名と証明）"
    ),
    "{noise:.3g} records": "データ {noise:.3g} 件分",
    "at most {noise:.3g} feature units an entry": "一要素あたり最大 {noise:.3g}（特徴量の単位）",
    "{noise:.3g} feature units an entry": "一要素あたり {noise:.3g}（特徴量の単位）",
    "right answers on your own records, out of fold, and standard error; –: could not be judged": (
        "自社のデータでの正答率（評価用に分けたデータ）と標準誤差。–：評価できません"
    ),
    "file, label, its probability, likeness to your own records, call (sure, unsure, new):": (
        "ファイル、ラベル、その確率、自社のデータとの既知度、判定（sure：確か、unsure：不確か、new：未知）："
    ),
    "who decides:": "決める人：",
    "    a person, each request: wg-client requests list --home {home}": (
        "    要求ごとに人が決めます：wg-client requests list --home {home}"
    ),
    "    the policy alone; with 'approve: human' in {path} a person, each request": (
        "    ポリシーだけで決まります。{path} に 'approve: human' と書くと、要求ごとに人が決めます"
    ),
    "    never: {what}": "    決して出ないもの：{what}",
    "features of a record": "個々のデータの特徴量",
    "labels of a record": "個々のデータのラベル",
    "exact counts": "正確な件数",
    "file names": "ファイル名",
    "accuracies": "精度",
    "whether weights were accepted": "重みを採用したかどうか",
    "what it would cost, for one {unit} added or removed:": "負担（{unit} 1 件の追加または削除に対して）：",
    "    alone    epsilon {epsilon:.4g} at delta {delta}": (
        "    単独    ε {epsilon:.4g}（δ {delta}）"
    ),
    "    composed epsilon {epsilon:.4g}, with {spent:.4g} spent; the cap is {cap}": (
        "    合成後  ε {epsilon:.4g}（使用済み {spent:.4g}、上限 {cap}）"
    ),
    "    {verdict}; {count} such releases still fit under the cap": (
        "    {verdict}。同じリリースがあと {count} 回、上限に収まります"
    ),
    "refused by {by}": "{by}により拒否されます",
    "policy": "ポリシー",
    "budget": "予算",
    "allowed": "許可されます",
    "learning here, when weights arrive: about {seconds:.0f} s of processor time and"
    " {megabytes:.0f} MB of memory; training of a whole network comes on top": (
        "重みが届いたあとの学習：CPU 時間およそ {seconds:.0f} 秒、メモリー {megabytes:.0f} MB"
        "（小型ネットワーク全体の学習は別にかかります）"
    ),
    "looking at changed records, where weights may be kept: up to {seconds:.0f} s more": (
        "重みを採用しうる場合の、変化を加えたデータの確認：さらに最大 {seconds:.0f} 秒"
    ),
    "nothing was sent, nothing was charged": "何も送信せず、何も計上していません",
    "hint: {hint}": "ヒント：{hint}",
    "with {labelled} labelled records of {classes} classes, other plants with your classes and"
    " equipment gain more from a head than from this release, at the same price: wg-client"
    " contribute --epsilon"
    " {epsilon:g}. Which of the two you give says roughly how many records you have": (
        "ラベル付きレコードが{classes}クラスで{labelled}件あります。同じ価格なら、クラスも設備も同じ他工場には、"
        "このリリースよりヘッドのほうが役に立ちます：wg-client contribute --epsilon {epsilon:g}。"
        "どちらを渡すかで、レコードのおおよその件数が分かります"
    ),
}

_DATA = {
    "freezing, %": "凍結中（%）",
    "{done} of {total} records read": "{total} 件中 {done} 件を読み込み",
    "{done} of {total} records encoded": "{total} 件中 {done} 件を特徴量に変換",
    "learning from {total} labels alone, in folds": "自社のラベル {total} 件だけで学習（交差検証）",
    "  cannot be used: {name}: {why}": "  使えません：{name}：{why}",
    "  left out: {name}: {why}": "  除外：{name}：{why}",
    "  counts once: {name}: the same content as {why}": "  重複：{name}：{why} と同じ内容です",
    "  {count} more; --json names all": "  ほか {count} 件（--json ですべて表示します）",
    "{path}: version {number} of data set {dataset}, {records} records, {left_out} left out,"
    " {duplicates} duplicates": (
        "{path}：データセット {dataset} の版 {number}、{records} 件、除外 {left_out} 件、"
        "重複 {duplicates} 件"
    ),
    "{site}: enrolled with {server} at {url}": "{site}：{server}（{url}）に登録しました",
    "public label domain: {labels}": "公開されるラベル集合：{labels}",
    "budget: epsilon {cap} at delta {delta}; policy in {path}": (
        "予算：ε {cap}（δ {delta}）。ポリシーは {path} にあります"
    ),
    "encoder {encoder}, {how}": "エンコーダー {encoder}（{how}）",
    "encoder {encoder}": "エンコーダー {encoder}",
    "as --encoder names it": "--encoder で指定したもの",
    "as you confirmed it": "確認済み",
    "as the join token names it: nobody was asked. Compare it with the operator's": (
        "参加トークンのとおり。誰にも確認していません。運用者のものと比べてください"
    ),
    "for {modality}; says that it was fitted on {sources}": (
        "対象：{modality}。学習に使ったデータ（自己申告）：{sources}"
    ),
    "nothing": "なし",
    "Is this the hash that the server's operator told you?": (
        "これはサーバーの運用者から聞いたハッシュですか？"
    ),
    "the encoder was not confirmed: nothing of it is kept. The join token is spent; ask the operator"
    " for another ('wg-server enroll --replace') when that is settled": (
        "エンコーダーが確認されなかったため、何も保存していません。参加トークンは使用済みです。"
        "解決したら、運用者に新しいトークン（'wg-server enroll --replace'）を依頼してください"
    ),
    "sensor logs: {rate:g} samples a second, windows of {window:g} s every {hop:g} s; channels"
    " {channels}": (
        "計測ログ：毎秒 {rate:g} サンプル、{window:g} 秒の窓を {hop:g} 秒ごと、チャンネル {channels}"
    ),
    "{site}: enrolled again with {server}; ledger and budget stay": (
        "{site}：{server} に再登録しました。台帳と予算はそのままです"
    ),
}

_MODELS = {
    "comparing models, %": "モデルを比較中（%）",
    "this package was applied before; nothing was trained again": (
        "このパッケージは適用済みです。再学習はしていません"
    ),
    "recommendation: {advice}. {why}": "おすすめ：{advice}。{why}",
    "report: {path}": "レポート：{path}",
    "kept": "採用",
    "kept {model}": "採用：{model}",
    "in use": "使用中",
    "shadow": "並行予測中",
    "no models yet; 'wg-client run' or 'wg-client apply' makes them": (
        "モデルはまだありません。'wg-client run' か 'wg-client apply' で作られます"
    ),
    "package {package}: kept {model}": "パッケージ {package}：採用は {model}",
    "shadow: {differ} of {compared} labels differ; see 'wg-client models shadow --home {home}'": (
        "並行予測：{compared} 件中 {differ} 件でラベルが違います。"
        "'wg-client models shadow --home {home}' を見てください"
    ),
    "{path}: {count} predictions": "{path}：予測 {count} 件",
    "{path}: records": "{path}：データ",
    "predicted": "予測済み",
    "{model:24} {accuracy:5.1f} ± {error:4.1f} % of {records} records{mark}": (
        "{model:24} {accuracy:5.1f} ± {error:4.1f} %（{records} 件）{mark}"
    ),
    "error: {count} of {total} records cannot be read": (
        "エラー：{total} 件中 {count} 件を読み込めません"
    ),
}

_RELEASES = {
    "{dataset}: epsilon {spent:.4g} of {cap} spent at delta {delta}; {charges} charges, {burned}"
    " without a release": (
        "{dataset}：ε {cap} のうち {spent:.4g} を使用（δ {delta}）。計上 {charges} 件、"
        "うちリリースなし {burned} 件"
    ),
    "  whoever has all of it and must say whether one given unit was in the data is right at most"
    " {right} times in 100 (tossing a coin: 50)": (
        "  そのすべてを手に入れても、ある 1 件がデータにあったかを当てられるのは 100 回中多くても"
        " {right} 回です（当てずっぽうなら 50 回）"
    ),
    "  {when}  {request}  epsilon {epsilon}, {after} composed, {size}, to {recipient}: {purpose}": (
        "  {when}  {request}  ε {epsilon}、合成後 {after}、{size}、宛先 {recipient}：{purpose}"
    ),
    "{size} bytes": "{size} バイト",
    "{path}: {size} bytes": "{path}：{size} バイト",
    "charged": "計上しました",
    "made before, nothing charged": "作成済みのため、計上していません",
    "charged before, nothing charged now": "計上済みのため、新たに計上していません",
    "{paid}; epsilon {spent:.4g} of {cap} spent at {delta}": (
        "{paid}。ε {cap} のうち {spent:.4g} を使用（δ {delta}）"
    ),
    "next: carry {file} to the server's operator": "次に：{file} をサーバーの運用者に渡してください",
}

_REQUESTS = {
    "no requests": "照会はありません",
    "no requests: privacy.approve in client.yaml is 'policy', so the policy alone decides": (
        "照会はありません（client.yaml の privacy.approve が 'policy' なので、ポリシーだけで決まります）"
    ),
    "{request}  {state} epsilon {epsilon}, until {expires}": (
        "{request}  {state}  ε {epsilon}、期限 {expires}"
    ),
    "answered": "回答済み",
    "waiting": "決定待ち",
    "approved": "承認",
    "denied": "却下",
    "request {request}: {word} by {name}; ledger entry {entry}": (
        "照会 {request}：{name} が{word}しました（台帳のエントリ {entry}）"
    ),
    "next: nothing to do; the server asks again within minutes, while 'wg-client run' is running": (
        "次に：することはありません。'wg-client run' の実行中、サーバーが数分以内にもう一度照会します"
    ),
    "next: nothing to do; the server is told when it asks again": (
        "次に：することはありません。サーバーには次の照会のときに伝わります"
    ),
    "request {request}: {state}{by}": "照会 {request}：{state}{by}",
    " by {name}": "（決定者：{name}）",
    "  asked by {recipient}, came {when}": "  照会元 {recipient}、受付 {when}",
    "  purpose: {purpose}": "  目的：{purpose}",
    "  epsilon {epsilon} at delta {delta}": "  イプシロン {epsilon}（デルタ {delta}）",
    "what would leave, once: {count} noisy integers": (
        "一度だけ工場から出るもの：ノイズを加えた整数 {count} 個"
    ),
    "  counts of labelled records, and of those that each of these candidates names right:"
    " {names}": "  内訳：ラベル付きの件数と、次の各候補が正しく判定した件数：{names}",
    "what it would cost: epsilon {after:.4g} in all, with {spent:.4g} spent; the cap is {cap}": (
        "負担：合計 ε {after:.4g}（使用済み {spent:.4g}、上限 {cap}）"
    ),
    "  or: {command}": "  または：{command}",
}

_STATUS = {
    "{site}, of {server} ({url})": "{site}（サーバー {server}、{url}）",
    "not running": "停止中",
    "connected": "接続中",
    "running, not connected": "実行中（未接続）",
    " since {when}": "（{when} から）",
    "  node         {node}{since}": "  ノード       {node}{since}",
    "  certificate  good until {when}": "  証明書       {when} まで有効",
    "  budget       epsilon {spent:.4g} of {cap} spent at delta {delta}, in {charges} charges": (
        "  予算         ε {cap} のうち {spent:.4g} を使用（δ {delta}、計上 {charges} 件）"
    ),
    "  ledger       {entries} entries, {seen} seen by the server": (
        "  台帳         エントリ {entries} 件（サーバー確認済み {seen} 件）"
    ),
    "  data         version {number}, frozen {when}": "  データ       版 {number}（{when} に凍結）",
    "  model        {model}; stage: {stage}": "  モデル       {model}（段階：{stage}）",
    "pilot": "試行",
    "watched": "監視中",
    "{model}, of {when}": "{model}（{when} 作成）",
    "none yet": "まだありません",
    "  packages     {count} wait to be applied": "  パッケージ   適用待ち {count} 件",
    "  disk         {free:.1f} GiB free": "  ディスク     空き {free:.1f} GiB",
    "all is well": "問題はありません",
    "{count} to look at": "確認が必要な項目：{count} 件",
}

_HINTS = {
    "privacy.cap_epsilon {epsilon:g}: nobody is protected at such a value; 1 to 10 are usual": (
        "privacy.cap_epsilon が {epsilon:g} では、誰も保護されません。ふつうは 1 から 10 です"
    ),
    "privacy.cap_delta {delta:g}: the promise may fail for one of {units} units; take {least:.0e} or"
    " less": (
        "privacy.cap_delta が {delta:g} では、{units} 単位のうち 1 つで保証が破れるおそれがあります。"
        "{least:.0e} 以下にしてください"
    ),
    " and {count} more": "、ほか {count} クラス",
    "too few records for this epsilon: the noise is longer than all records of a class together, for"
    " {names}{more}; {needed} records a class, or a larger epsilon, are the least": (
        "この ε にはデータが少なすぎます。{names}{more} では、ノイズがクラスの全データの合計より"
        "大きくなります。クラスあたり {needed} 件以上にするか、ε を大きくしてください"
    ),
    "{count} packages could not be applied: the log says why; they are in {folder}": (
        "適用できなかったパッケージが {count} 個、{folder} にあります。理由はログにあります"
    ),
    "{free} MiB are free; a package may be {most} MiB, and needs twice that": (
        "空きは {free} MiB です。パッケージは最大 {most} MiB で、その 2 倍の空きが必要です"
    ),
    "the node does not run.{why} Start it: wg-client run --home {home}": (
        "ノードが停止しています。{why}起動するには： wg-client run --home {home}"
    ),
    "the node is not connected: {why}": "ノードが接続していません：{why}",
    "it has not been heard of": "応答の記録がありません",
    "{error}; ask for a token, and run wg-client init --replace": (
        "{error}。トークンを依頼し、wg-client init --replace を実行してください"
    ),
    "the certificate has ended: ask the operator for a token (wg-server enroll --replace), and run"
    " wg-client init --replace": (
        "証明書の期限が切れています。運用者にトークン（wg-server enroll --replace）を依頼し、"
        "wg-client init --replace を実行してください"
    ),
    "the certificate ends within a day, and was not renewed: wg-client renew": (
        "証明書は 1 日以内に切れますが、更新されていません： wg-client renew"
    ),
    "the newest records that were watched are not like the frozen ones: see 'wg-client watch'": (
        "最近のデータが、凍結したデータと似ていません。'wg-client watch' を見てください"
    ),
    "{path}: this home was made before encoders were confirmed. Compare its hash with the operator's,"
    " and write it under data: encoder: {encoder}": (
        "{path}：エンコーダーの確認が始まる前に作られたホームです。ハッシュを運用者のものと比べ、"
        "data: の下に encoder: {encoder} と書いてください"
    ),
}

MESSAGES: Mapping[str, str] = {
    **_CHECK,
    **_DATA,
    **_MODELS,
    **_RELEASES,
    **_HINTS,
    **_REQUESTS,
    **_STATUS,
}
