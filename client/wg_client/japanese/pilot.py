"""Before a plant joins, and after: ``simulate`` with its sheet, ``models``, ``watch``."""

from __future__ import annotations

from collections.abc import Mapping

_SHEET = {
    "Return on investment": "投資対効果シート",
    "What the model is worth": "モデルの価値",
    "Labels": "ラベル付け",
    "Errors": "誤判定",
    "Computing": "計算",
    "Sum": "合計",
    "Line": "行",
    "What": "項目",
    "Value": "値",
    "Where it comes from": "出所",
    "not entered": "未入力",
    "the engineer's figures": "担当者の入力値",
    "not known: a line that it needs is not entered": "不明（必要な行が未入力です）",
    "not known: no published plant is like yours": "不明（似た公開事例がありません）",
    "not judged: too few labels": "評価できません（ラベルが少なすぎます）",
    "computed: {lines}": "計算：{lines} 行",
    "computed: epsilon {epsilon}": "計算：ε = {epsilon}",
    "80 %: {low} to {high}": "80 % 区間：{low}～{high}",
    "{middle} ({ends})": "{middle}（{ends}）",
    "{middle} {unit} ({ends})": "{middle} {unit}（{ends}）",
    "{middle} % (95 %: {low} to {high})": "{middle} %（95 % 区間：{low}～{high}）",
    "Records, with a label, classes": "データ件数、ラベル付き、クラス数",
    "your data": "自社のデータ",
    "Right answers alone": "自社だけでの正答率",
    "measured in this run, in your own folds": "今回測定（自社データの交差検証）",
    "measured in this run": "今回測定",
    "More right answers with weights": "重みによる正答率の増加",
    "Right answers with weights, without any label": "重みによる正答率（ラベルなし）",
    "points": "ポイント",
    "labels": "件",
    "hours": "時間",
    "published plants; printed by {command}": "公開事例。再現コマンド：{command}",
    "published; rows of {command}": "公開値。再現コマンド：{command}",
    "Labels saved: what you alone would need more to be as accurate": (
        "節約できるラベル数：自社だけで同じ精度にするために追加で必要な件数"
    ),
    "Time to label one record": "1 件のラベル付けにかかる時間",
    "Working time saved, once": "節約できる作業時間（初回のみ）",
    "Cost of an hour": "1 時間あたりの費用",
    "Labels, in money": "ラベル付けの節約額",
    "Records that the model judges in a year": "モデルが 1 年間に判定する件数",
    "Wrong calls avoided in a year": "1 年間に減る誤判定",
    "Cost of a wrong call": "誤判定 1 件の損失",
    "Wrong calls, in money a year": "誤判定の削減額（年間）",
    "Local training steps saved, whole networks, {about}": (
        "節約できる学習ステップ数（小型ネットワーク全体、{about}）"
    ),
    "known to the zoo": "運営者が同種のデータを持つ場合",
    "not known to the zoo": "運営者が同種のデータを持たない場合",
    "more than {tried} ({plants} plants)": "{tried} 超（{plants} 事例）",
    "{steps} ({plants} plants)": "{steps}（{plants} 事例）",
    "Processor time to learn alone, a plant of the bench": (
        "自社だけで学習する CPU 時間（公開事例）"
    ),
    "Processor time that weightgate takes more: freeze once, compare once": (
        "weightgate で追加になる CPU 時間（凍結と比較を各 1 回）"
    ),
    "Power of the computer": "計算機の消費電力",
    "Energy": "電力量",
    "Cost of a kilowatt-hour": "1 kWh の料金",
    "Energy, in money": "電力の費用",
    "First year, in money": "初年度の合計額",
    "Cost in privacy": "プライバシーの負担",
    "whoever guesses whether a certain record is in your data is right in at most {guess} of 100"
    " cases, instead of 50": (
        "ある 1 件が自社のデータに含まれるかどうかを推測する人の的中率は、"
        "100 回中 50 回から最大 {guess} 回になります"
    ),
    "For {path}: a release at epsilon {epsilon}, with {sites} other plants of the same classes.": (
        "対象：{path}。ε = {epsilon} のリリース 1 回、同じクラスを持つ他の工場 {sites} 社を想定。"
    ),
    "Nothing was sent and nothing was charged. Intervals are wide because plants differ; a number"
    " below zero means a loss.": (
        "何も送信されず、何も計上されていません。工場ごとの差が大きいため区間は広くなります。"
        "負の値は損失を意味します。"
    ),
}
_SIMULATE = {
    "{path}: {records} {kind}, {labelled} with a label": (
        "{path}：{kind} {records} 件、うちラベル付き {labelled} 件"
    ),
    "none: could be delivered": "なし（届く可能性があります）",
    "    ... {count} classes in all": "    …… 全部で {count} クラス",
    "    {count} files cannot be used:": "    使えないファイルが {count} 件あります：",
    "    {drawn} of them, evenly drawn, were looked at": (
        "    そのうち等間隔に選んだ {drawn} 件を調べました"
    ),
    "what it would take:": "必要な計算：",
    "    about {encode:.0f} s of processor time to freeze all records, about {learn:.0f} s and"
    " {megabytes:.0f} MB to compare models when weights come; how long the other plants take is"
    " not known": (
        "    全データの凍結に CPU 時間およそ {encode:.0f} 秒、重みが届いたときの比較に"
        "およそ {learn:.0f} 秒と {megabytes:.0f} MB。他の工場にかかる時間は不明です"
    ),
    "alone, with what you have: {mean:.0f} % right on classes that you have records of (95 %"
    " interval {low:.0f} to {high:.0f} %)": (
        "自社だけの場合：データのあるクラスで正答率 {mean:.0f} %"
        "（95 % 区間 {low:.0f}～{high:.0f} %）"
    ),
    "alone: too few labels to judge anything; three records a class are the least": (
        "自社だけの場合：ラベルが少なすぎて評価できません。1 クラス 3 件以上が必要です"
    ),
    "right answers, on all classes, if {sites} other plants that have them take part:": (
        "同じクラスを持つ他の工場が {sites} 社参加した場合の、全クラスでの正答率："
    ),
    "more right answers, in points, on all classes, if {sites} other plants that have them take"
    " part:": (
        "同じクラスを持つ他の工場が {sites} 社参加した場合の、全クラスでの正答率の増加"
        "（ポイント）："
    ),
    "    epsilon {epsilon:g}: {expected}": "    ε = {epsilon:g} の場合：{expected}",
    "    by what {count} published plants like yours gained; the interval held for {held:.0f} %"
    " of plants whose data set was left out": (
        "    似た公開事例 {count} 件の結果によります。データセットを除いて試した事例の"
        " {held:.0f} % で区間が当たりました"
    ),
    "not known: no published plant is like yours": "不明（似た公開事例がありません）",
    "{gain:.0f} % right (80 %: {low:.0f} to {high:.0f})": (
        "正答率 {gain:.0f} %（80 % 区間：{low:.0f}～{high:.0f}）"
    ),
    "{gain:+.1f} (80 %: {low:+.1f} to {high:+.1f})": (
        "{gain:+.1f}（80 % 区間：{low:+.1f}～{high:+.1f}）"
    ),
    "nothing can be expected: ask the operator for a trial": (
        "予測できません。運営者に試行を相談してください"
    ),
    "nothing could check such a model here: label some records if you can": (
        "そのようなモデルをここで確かめる方法がありません。できれば少しラベルを付けてください"
    ),
    "a gain is likely": "改善が見込めます",
    "a gain is possible, and not sure": "改善の可能性はありますが、確実ではありません",
    "do not expect a gain: your own labels do as well; join for classes you have none of": (
        "改善は期待できません。自社のラベルで同程度の結果になります。"
        "データのないクラスがあれば参加する意味があります"
    ),
    "what would leave, once: {size} bytes; ledger entries and proofs come on top": (
        "一度だけ工場から出るもの：{size} バイト（ほかに台帳のエントリと証明）"
    ),
    "    {name:8} {shape:>9} = {integers:6} integers of 8 bytes": (
        "    {name:8} {shape:>9} = 8 バイト整数 {integers:6} 個"
    ),
    "        noise at epsilon {prices}: {noises}": "        ε が {prices} のときのノイズ：{noises}",
    "    {size} bytes say how to read them; no record is in them (--json lists them)": (
        "    読み方の情報 {size} バイト（データの内容は入りません。--json で一覧できます）"
    ),
    "what it would cost in privacy, for any one {unit}:": (
        "プライバシーの負担（どの {unit} 1 件についても）："
    ),
    "    somebody who guesses whether a certain {unit} is in your data, at even odds, and sees the"
    " file, is right at most": (
        "    ある {unit} が自社のデータに含まれるかどうかを五分五分から推測する人が、"
        "ファイルを見たあとに当てる割合は最大で"
    ),
    "    epsilon {epsilon:g}: in {guess} of 100 cases; {fit} such releases fit under the usual cap"
    " of 8, for good": (
        "    ε = {epsilon:g}：100 回中 {guess} 回。通常の上限 8 に収まるのは、通算 {fit} 回までです"
    ),
    "simulating, %": "試算中（%）",
    "to take part, get a join token from an operator and save it in a file, token": (
        "参加するには、運用者から参加トークンをもらい、ファイル token に保存してください"
    ),
    "sheet: {path}": "シート：{path}",
}
_ADOPTION = {
    "    by {name}: {why}": "    決めた人 {name}：{why}",
    "no models yet": "モデルはまだありません",
    "none": "なし",
    "in use: {model}": "使用中：{model}",
    "shadow: {model}": "シャドー：{model}",
    "no model is in shadow; 'wg-client models shadow PACKAGE --by NAME' sets one": (
        "シャドー運用中のモデルはありません。wg-client models shadow PACKAGE --by NAME で設定します"
    ),
    "{compared} predictions of both, {differ} of them differ": (
        "両方で予測した {compared} 件のうち、{differ} 件で判定が異なります"
    ),
    "  {name}: {label} ({chance:.2f}), shadow {other} ({other_chance:.2f})": (
        "  {name}：{label}（{chance:.2f}）、シャドーは {other}（{other_chance:.2f}）"
    ),
    "  the newest {shown} of {count}; --json has more": (
        "  {count} 件のうち最新の {shown} 件です。--json にはさらにあります"
    ),
    "the first model": "最初のモデルです",
    "in use before there was a history": "履歴ができる前から使用中です",
    "chosen by hand": "人が選びました",
    "after its shadow": "シャドー運用を経て採用しました",
    "back to the one before": "一つ前のモデルに戻しました",
    "ended by hand": "人が終了しました",
    "no better than the model in use, which stays": (
        "使用中のモデルより良くないため、使用中のモデルのままです"
    ),
    "better on your records than the model in use: it predicts beside it until you promote it": (
        "自社のデータで使用中のモデルより良いため、採用されるまで並行して予測します"
    ),
    "better on your records than the model in use, and acceptance.adopt is 'better'": (
        "自社のデータで使用中のモデルより良く、acceptance.adopt が 'better' です"
    ),
    "the model that was in use cannot work with the encoder that this home has now": (
        "これまでのモデルは、現在のエンコーダーでは動きません"
    ),
}
_WATCH = {
    "looking at records": "データを調べています",
    "{count} records, against version {number} of the data set": (
        "データ {count} 件を、データセットの版 {number} と比べました"
    ),
    "  features     not tested: five records are the least": (
        "  特徴量       検定できません（5 件以上必要です）"
    ),
    "  features     p = {p:.4f}; moved: {means} means, {spreads} spreads; the largest by"
    " {largest:.2f} of its spread": (
        "  特徴量       p = {p:.4f}。動いた平均 {means} 個、ばらつき {spreads} 個、"
        "最大の差は標準偏差の {largest:.2f} 倍"
    ),
    "  new          p = {p:.4f}; {count} records, {share:.1f} %": (
        "  新しい種類   p = {p:.4f}。{count} 件、{share:.1f} %"
    ),
    "  not sure     not known: no model, or too few labels to call any record sure": (
        "  不確か       不明（モデルがないか、確かと言うにはラベルが少なすぎます）"
    ),
    "  not sure     p = {p:.4f}; {count} records, {share:.1f} %": (
        "  不確か       p = {p:.4f}。{count} 件、{share:.1f} %"
    ),
    "    called {label} {count:6}, frozen with this label {own:6}": (
        "    判定 {label} {count:6} 件、凍結データでは {own:6} 件"
    ),
    "no alarm": "警報なし",
    "ALARM: these records are not like the frozen ones": (
        "警報：これらのデータは凍結したデータと似ていません"
    ),
    "{verdict} (of such batches without any drift, {rate:g} in 100 raise one)": (
        "{verdict}（変化がなくても、100 回に {rate:g} 回は警報になります）"
    ),
    "worth labelling, the most first:": "ラベルを付ける価値の高い順：",
    "a new release would cost epsilon {epsilon}: {after:.4g} of {cap} would be spent, and {left}"
    " more would fit": (
        "新しいリリースの負担は ε {epsilon}：使用済みは {after:.4g}（上限 {cap}）になり、"
        "あと {left} 回分が残ります"
    ),
}
MESSAGES: Mapping[str, str] = {**_SHEET, **_SIMULATE, **_ADOPTION, **_WATCH}
