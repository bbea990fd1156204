"""The report."""

from __future__ import annotations

from collections.abc import Mapping

_FIRST_SCREEN = {
    "what came of the weights": "届いた重みの結果",
    "Recommendation": "おすすめ",
    "Keep your own model": "自社のモデルを使い続けてください",
    "Use this model": "このモデルを使ってください",
    "Use this model, once you have looked at {codes}": (
        "{codes} を確認したうえで、このモデルを使ってください"
    ),
    "Use this model, and have a person look at every call": (
        "このモデルを使い、すべての判定を人が確認してください"
    ),
    "No delivered model was shown to be better on your own records.": (
        "届いたモデルが自社のモデルより良いことは、自社のデータでは確認できませんでした。"
    ),
    "No record here has a label, so that nobody could check it.": (
        "ラベル付きのデータが一件もないため、確かめることができませんでした。"
    ),
    "On your own records it was better than what you can make alone.": (
        "自社のデータで、自社だけで作れるモデルより良い結果でした。"
    ),
    "What changes": "何が変わるか",
    "What it costs in privacy": "プライバシーの負担",
    "What cannot be known": "わからないこと",
    "What to do next": "次にすること",
    "Nothing was measured here.": "ここでは何も測定できませんでした。",
    "Elsewhere, models like this one named about {middle} of 1,000 records right; at one site in"
    " ten fewer than {low}, at one in ten more than {high}.": (
        "ほかの拠点では、同じようなモデルは 1,000 件中およそ {middle} 件を正しく判定しました。"
        "10 拠点に 1 拠点は {low} 件未満、10 拠点に 1 拠点は {high} 件超でした。"
    ),
    "Nothing: you go on with the model that your own labels give.": (
        "何も変わりません。自社のラベルで作ったモデルを使い続けます。"
    ),
    "Of 1,000 defective records it finds about {kept} ({low} to {high}).": (
        "不良 1,000 件のうち、およそ {kept} 件（{low}～{high}）を見つけます。"
    ),
    "Of 1,000 defective records it finds about {kept} ({low} to {high}); your own model finds {own}."
    " Difference: {more:+d} ({least:+d} to {most:+d}).": (
        "不良 1,000 件のうち、およそ {kept} 件（{low}～{high}）を見つけます。"
        "自社のモデルは {own} 件です。差は {more:+d} 件（{least:+d}～{most:+d}）です。"
    ),
    "Of 1,000 good records it passes about {kept} ({low} to {high}).": (
        "良品 1,000 件のうち、およそ {kept} 件（{low}～{high}）を良品と判定します。"
    ),
    "Of 1,000 good records it passes about {kept} ({low} to {high}); your own model passes {own}."
    " Difference: {more:+d} ({least:+d} to {most:+d}).": (
        "良品 1,000 件のうち、およそ {kept} 件（{low}～{high}）を良品と判定します。"
        "自社のモデルは {own} 件です。差は {more:+d} 件（{least:+d}～{most:+d}）です。"
    ),
    "Of 1,000 records it names about {kept} right ({low} to {high}).": (
        "1,000 件のうち、およそ {kept} 件（{low}～{high}）を正しいクラスに判定します。"
    ),
    "Of 1,000 records it names about {kept} right ({low} to {high}); your own model names {own}."
    " Difference: {more:+d} ({least:+d} to {most:+d}).": (
        "1,000 件のうち、およそ {kept} 件（{low}～{high}）を正しいクラスに判定します。"
        "自社のモデルは {own} 件です。差は {more:+d} 件（{least:+d}～{most:+d}）です。"
    ),
    'Good means: {labels}. Set "data.good" in client.yaml to change that.': (
        "良品とみなすラベル：{labels}。client.yaml の「data.good」で変更できます。"
    ),
    "These numbers leave out records of {classes}: there was none here to count.": (
        "これらの件数に {classes} は含まれません。ここに数えられるデータがないためです。"
    ),
    "It can also name {classes}, which your own model cannot.": (
        "自社のモデルでは判定できない {classes} も判定できます。"
    ),
    "Nothing has left the plant, and no privacy was spent.": (
        "工場から出たものはなく、プライバシー予算も使っていません。"
    ),
    "Releases so far: {count}. Each is noisy sums over your records; no record, picture or file name"
    " has left.": (
        "これまでのリリースは {count} 回です。出たのはノイズを加えた合計値だけで、"
        "個々のデータ、画像、ファイル名は出ていません。"
    ),
    "Somebody who has them all and must say whether one given {unit} was among your data is right at"
    " most {right} times in 100; by tossing a coin, 50 times.": (
        "そのすべてを手に入れた人が、ある 1 件（単位：{unit}）が自社のデータに含まれていたかを"
        "当てようとしても、当たるのは 100 回中多くても {right} 回です（当てずっぽうなら 50 回）。"
    ),
    "record": "レコード",
    "Of your budget (ε {cap}), ε {spent:.2f} is spent. It does not come back.": (
        "予算（ε {cap}）のうち ε {spent:.2f} を使いました。使った分は戻りません。"
    ),
    "How often {classes} will be recognised: there is no labelled record of it here.": (
        "{classes} をどれだけ見分けられるか（ラベル付きのデータがここにありません）。"
    ),
    "The exact figures: {count} labelled records leave a margin of {margin} in 1,000 either way.": (
        "正確な数値（ラベル付きデータが {count} 件では、1,000 件あたり前後 {margin} 件の幅が残ります）。"
    ),
    "How good these are: {models}. Your own release had a part in them, so your records cannot judge"
    " them.": (
        "次のモデルの良さ：{models}。自社が出した統計を使って作られたため、"
        "自社のデータでは評価できません。"
    ),
    "Whether several records are of one part or one recording: no unit is named here. If they are,"
    " these figures are too good.": (
        "同じ部品または同じ計測から複数のデータが取られているかどうか（単位の指定がここにありません）。"
        "その場合、これらの数値は良すぎます。"
    ),
    "How it does on machines, and on kinds and sizes of fault, without a record here.": (
        "ここにデータのない機械や、不良の種類・大きさに対する性能。"
    ),
    "How it does when camera, light, material or sensors change.": (
        "カメラ、照明、材料、センサーが変わったときの性能。"
    ),
    "Whether it sees defects that nobody has declared as a class.": (
        "クラスとして宣言されていない不良を見つけられるかどうか。"
    ),
    "Read what was found under {codes}, below.": "下の {codes} の内容を読んでください。",
    "Try it on new records: wg-client predict --home {home} NEW_RECORDS --out result.csv": (
        "新しいデータで試してください： wg-client predict --home {home} 新しいデータ --out result.csv"
    ),
    "Another model is in use, and this one predicts beside it. To change that: wg-client models"
    " promote --home {home} --by NAME": (
        "現在は別のモデルを使用中で、このモデルは並行して予測だけをします。切り替えるには："
        " wg-client models promote --home {home} --by 氏名"
    ),
    "Label ten records of each class, freeze, and ask for weights again.": (
        "各クラス 10 件にラベルを付けて凍結し、重みをもう一度依頼してください。"
    ),
    'Have a person look at what it calls "unsure" or "new".': (
        "「unsure」（不確か）や「new」（未知）と判定されたものは、人が確認してください。"
    ),
    "Collect and label records of {classes}.": (
        "{classes} のデータを集めて、ラベルを付けてください。"
    ),
    "Label more records of {label}: there are {count}.": (
        "{label} のラベル付きデータを増やしてください（現在 {count} 件）。"
    ),
}

_PICTURES = {
    "data set {name}": "データセット {name}",
    "{count} labelled records": "ラベル付きデータ {count} 件",
    "{count} without label": "ラベルなし {count} 件",
    "This page contains accuracies and counts of your records. It stays at the plant.": (
        "このページには自社データの精度と件数が含まれています。工場の外に出さないでください。"
    ),
    "Numbers in brackets are 95 % intervals for new records of this site, if classes come as often as among your labels.": (
        "かっこ内は、各クラスがラベル付きデータと同じ割合で現れるとしたときの、この拠点の新しいデータに対する 95 % 区間です。"
    ),
    "across": "横軸",
    "up": "縦軸",
    "points": "ポイント",
    "Accuracy on your own records": "自社のデータでの精度",
    "Accuracy of each model, per cent": "各モデルの精度（%）",
    "Out of fold: no label of a record had a part in the model that names it, nor in any choice made"
    " for it ({repeats} × nested cross-validation).": (
        "評価用に分けたデータでの値です。あるデータを判定するモデルの学習にも選択にも、"
        "そのデータのラベルは使っていません（入れ子の交差検証を {repeats} 回）。"
    ),
    "Judged on {count} of the records.": "そのうち {count} 件で評価しました。",
    "Line: local-only. Intervals are wider than chance alone: a site changes.": (
        "点線は自社のみのモデルです。拠点は変化するため、区間は偶然だけの場合より広くしています。"
    ),
    "Only of classes that have records here.": "ここにデータがあるクラスだけの値です。",
    "The best head that your labels alone give on the large public encoder reaches {share:.1f} %; it"
    " needs the encoder wherever it runs, and {architecture} does not.": (
        "大きな公開エンコーダーの上で自社のラベルだけから作れる最良のモデルは {share:.1f} % です。"
        "ただし動かす場所すべてにエンコーダーが必要です。{architecture} には必要ありません。"
    ),
    "Is it better than local-only?": "自社のみのモデルより良いか",
    "Right answers more than local-only's, points": "正解率の差（自社のみとの比較、ポイント）",
    "Right answers more than local-only's on the same records, out of fold, with 95 % intervals.": (
        "同じデータでの、自社のみのモデルとの正解率の差と 95 % 区間です（評価用に分けたデータ）。"
    ),
    "Classes without a record here count with their expected share, and as often recognised as"
    " classes that were left out on trial.": (
        "ここにデータがないクラスは、見込まれる割合で数え、試しに除外したクラスと同じ割合で"
        "見分けられるものとして計算しています。"
    ),
    "Decided is by log loss, which also says how sure a model was: local-only is kept unless"
    " another's is lower by more than {times:g} × its standard error ({own:g} × if it was learnt"
    " from records of your kind of plant), and its right answers are more. Lower by:": (
        "判断には、モデルの確信の度合いも含む対数損失を使います。自社のみのモデルより、"
        "標準誤差の {times:g} 倍（自社と同じ種類の工場のデータから学習したモデルは {own:g} 倍）を"
        "超えて低く、正解が増えているときだけ採用します。低下量："
    ),
    "How fast it learns here": "学習の速さ",
    "Accuracy on held-out records against steps of local training, from each start": (
        "各初期値からの、学習ステップ数に対する評価用データの精度"
    ),
    "steps of local training": "自社での学習ステップ数",
    "accuracy on held-out records, %": "評価用データの精度（%）",
    "from: {start}": "初期値：{start}",
    "local-only, fully trained": "自社のみ（学習完了）",
    "To reach {share:.1f} %, delivered weights take {steps} steps and random weights {others}.": (
        "{share:.1f} % に達するまでのステップ数は、届いた重みが {steps}、乱数の重みが {others} です。"
    ),
    "Only the last layer is trained; one step is one of Nesterov's accelerated gradient method, at"
    " the same step size for each start.": (
        "学習するのは最終層だけです。1 ステップはネステロフの加速勾配法 1 回で、"
        "ステップ幅はどの初期値でも同じです。"
    ),
    "Your own release had a part in the delivered start, which flatters its curve.": (
        "届いた初期値は自社が出した統計を使って作られたため、曲線は実際より良く見えます。"
    ),
    "Can its probabilities be relied on?": "確率は信頼できるか",
    "Share of right answers against the probability that the model says, in groups of equally many"
    " records": "モデルが示す確率に対する正解の割合（同じ件数ずつに分けた集まりごと）",
    "probability that it says, %": "モデルが示す確率（%）",
    "share that is right, %": "正解の割合（%）",
    "On the dashed line both are equal. Below it the model is too sure of itself, above it too"
    " modest. Few records scatter by chance.": (
        "点線の上では両者が等しくなります。点線より下は自信過剰、上は控えめです。"
        "件数が少ないと偶然でばらつきます。"
    ),
    "What it takes for what": "何を何と間違えるか",
    "Rows: what a record is. Columns: what the model calls it. In records, out of fold.": (
        "行：正しいクラス。列：モデルの判定。単位は件数です（評価用に分けたデータ）。"
    ),
    "{label} is called {called}: {records:.1f} records, {share:.0f} % of its own": (
        "{label} を {called} と判定：{records:.1f} 件（そのクラスの {share:.0f} %）"
    ),
    "What small changes cost": "小さな変化の影響",
    "Loss of accuracy by a plausible change, points": "起こりうる変化による精度の低下（ポイント）",
    "Accuracy lost when the plant's own records are changed a little, as on another day.": (
        "別の日に起こりうる程度に自社のデータを変えたときの、精度の低下です。"
    ),
}

_TABLES = {
    "Classes": "クラス",
    "class": "クラス",
    "records here": "ここの件数",
    "recognised, of 100": "見分けた割合（100 件中）",
    "none": "なし",
    "cannot be measured here": "ここでは測定できません",
    "What was checked of the kept model": "採用したモデルの検査",
    "code": "コード",
    "looks for": "検査の内容",
    "verdict": "判定",
    "found": "結果",
    "What each code means, and what to do: docs/failures.md. A warning does not keep a model out;"
    " acceptance.checks.actions says which failure does.": (
        "各コードの意味と対処は docs/failures.md にあります。警告だけでは不採用になりません。"
        "どの項目で不採用にするかは acceptance.checks.actions で決めます。"
    ),
    "Rejected models, and why": "採用しなかったモデルとその理由",
    "model": "モデル",
    "It passed, and another one was further above local-only.": (
        "合格しましたが、ほかのモデルのほうが自社のみのモデルを大きく上回りました。"
    ),
    "The technical table is on the screen's page, which this was printed from.": (
        "技術情報は、印刷元の画面のページにあります。"
    ),
    "Technical table": "技術情報",
    "What left the plant": "工場から出たもの",
    "request": "照会",
    "to": "宛先",
    "purpose": "目的",
    "ε alone": "単独の ε",
    "ε after, composed": "合成後の ε",
    "bytes": "バイト数",
    "nothing left": "何も出ていません",
    "Nothing.": "ありません。",
    "ε {spent:.2f} of {cap} is spent at δ {delta}. Composed ε is what all releases together cost;"
    " none leaves once it would pass the cap.": (
        "δ {delta} で、ε {cap} のうち {spent:.2f} を使いました。合成後の ε はすべてのリリースを"
        "合わせた負担です。上限を超えるリリースは出ません。"
    ),
    "{count} charges paid for nothing that left (an interrupted release); they stay charged.": (
        "計上 {count} 件は、途中で止まって何も出ていません。計上は取り消されません。"
    ),
    "The models": "モデル",
    "started from": "初期値",
    "accuracy, %": "精度（%）",
    "gain over local-only": "自社のみとの差",
    "checks": "検査",
    "chosen": "選ばれた設定",
    " (kept)": "（採用）",
    "Where the weights came from": "重みの出どころ",
    "architecture, plan": "アーキテクチャ、重みプラン",
    "generator": "生成器",
    "encoder": "エンコーダー",
    "your release": "自社のリリース",
    "other sites' releases": "他拠点のリリース",
    "package": "重みパッケージ",
    "candidates": "候補",
}

MESSAGES: Mapping[str, str] = {**_FIRST_SCREEN, **_PICTURES, **_TABLES}
