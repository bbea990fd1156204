"""Sentences of all commands and of the audit report; English template -> Japanese one."""

from __future__ import annotations

from collections.abc import Mapping

_SHELL = {
    "error: {message}": "エラー：{message}",
    "next: {command}": "次に：{command}",
    "Usage: {usage}": "使い方：{usage}",
    "Options:": "オプション：",
    "Commands:": "コマンド：",
    "Show this page and exit.": "この説明を表示して終わります。",
    "[default: {default}]": "［省略時：{default}］",
    "[required]": "［必須］",
    "The command was called wrongly; --help says how.": (
        "コマンドの使い方が違います。--help で使い方を確認してください。"
    ),
    "A setting, a folder or an option is wrong: see the file and field above.": (
        "設定、フォルダー、またはオプションに誤りがあります。上に表示されたファイルと項目を確認してください。"
    ),
    "The disk is full or cannot be written. Nothing was changed; try again.": (
        "ディスクがいっぱいか、書き込めません。何も変更していません。もう一度実行してください。"
    ),
    "A record or table cannot be read or used: see the file named above.": (
        "読み込めない、または使えないデータがあります。上に表示されたファイルを確認してください。"
    ),
    "A file is not what it claims to be: see its name above.": (
        "ファイルの内容が形式と合いません。上に表示されたファイルを確認してください。"
    ),
    "The plant's rules or its budget do not allow this.": (
        "工場のルールまたは予算により許可されません。"
    ),
    "The privacy budget does not cover this.": "プライバシー予算が足りません。",
    "The plant's policy does not allow this.": "工場のポリシーにより許可されません。",
    "A person must decide first: wg-client requests list.": (
        "先に人の決定が必要です：wg-client requests list"
    ),
    "A signature, hash or proof does not hold. Do not use the file.": (
        "署名、ハッシュ、または証明が一致しません。このファイルは使わないでください。"
    ),
    "The delivered weights were not accepted.": "届いた重みは採用されませんでした。",
    "The network or the other side failed; try again.": (
        "ネットワークまたは相手側で問題が起きました。もう一度実行してください。"
    ),
    "Interrupted. Run the same command again to go on.": (
        "中断しました。同じコマンドをもう一度実行すると続きから始まります。"
    ),
}

_AUDIT = {
    "{word}: {entries} entries of {origin} hold together": (
        "{word}：{origin} のエントリ {entries} 件は互いに整合しています"
    ),
    "  NOT VERIFIED  {problem}": "  検証できません  {problem}",
    "charges": "計上",
    "{charges}, releases {releases}, burned {burned}": (
        "{charges} 件、リリース {releases} 件、失効 {burned} 件"
    ),
    "budget": "予算",
    "{names}: epsilon {epsilon:.4f} of {cap:g} at delta {delta:g} (independent code:"
    " {independent:.4f})": (
        "{names}：ε {cap:g} のうち {epsilon:.4f}（δ {delta:g}、独立したコードでは {independent:.4f}）"
    ),
    "note: {remark}": "注意：{remark}",
    "not checked: {what}": "確認していないこと：{what}",
    "{path}: written ({word})": "{path}：書き込みました（{word}）",
    "{path}: {entries} entries of {origin}": "{path}：{origin} のエントリ {entries} 件",
}

_VERDICT = {
    "given": "監査人が持参",
    "the server's word": "サーバーの言明",
    "the log's own word": "台帳自身の言明",
    "the server's {file}": "サーバーの {file}",
    "{key} ({source}{hops})": "{key}（{source}{hops}）",
    "{name} {key} ({source}): {seen}": "{name} {key}（{source}）：{seen}",
    "{days:.3g} d": "{days:.3g} 日",
    "{hours:.3g} h": "{hours:.3g} 時間",
    "{minutes:.3g} min": "{minutes:.3g} 分",
    "{seconds} s": "{seconds} 秒",
    "ledger key": "台帳の鍵",
    "witnesses": "証人",
    "freshness": "新しさ",
    "log before": "以前の台帳",
    "files": "ファイル",
    "{count} received, each covered once, and as its charge says": (
        "受け取った {count} 件は、それぞれ一度ずつ、計上どおりに記録されています"
    ),
    ", {count} rotation(s) from it": "、そこから {count} 回更新",
    "none known by key; by the log's own word up to entry {to} of {entries}": (
        "鍵のわかる証人はいません。台帳自身の言明では {entries} 件中 {to} 件目まで"
    ),
    "{by} of {witnesses} known by key, {needed} needed: cosigned up to entry {to} of {entries}": (
        "鍵のわかる証人 {witnesses} 者のうち {by} 者（必要数 {needed}）：{entries} 件中 {to} 件目まで連署"
    ),
    "no limit": "制限なし",
    "limit {age}": "制限 {age}",
    "newest cosignature {when} UTC, {age} ago ({limit})": (
        "最新の連署は {when} UTC（{age}前、{limit}）"
    ),
    "extends the {size} entries of {source}": "{source} の {size} 件の続きです",
    "unknown": "不明",
    "BUDGET UNKNOWN: not on its account: {logs}": "予算不明：算入されていない台帳：{logs}",
    "checked against it": "照合済み",
    "inherited spend by its own word": "引き継いだ使用量は台帳自身の言明",
    "none, {source}": "なし（{source}）",
    "not checked": "未確認",
    "budget unknown: log {origin} of this site is not on its account": (
        "予算不明：この拠点の台帳 {origin} が算入されていません"
    ),
    "superseded: the site's log in use is {origin}, by {source}": (
        "置き換え済み：この拠点が現在使う台帳は {origin} です（{source}）"
    ),
    "holds by itself": "それ自体では整合",
    "partly verified": "一部検証済み",
    "verified": "検証済み",
    "{size} entries, {when} UTC, {age} ago": "エントリ {size} 件、{when} UTC（{age}前）",
    "has not cosigned": "連署していません",
    "whose log it is: the key is the log's own word; compare it with the key from enrolment"
    " (--ledger-key)": (
        "誰の台帳か：鍵は台帳自身の言明です。登録時の鍵と比べてください（--ledger-key）"
    ),
    "that a witness saw this log: no key of a witness is known from elsewhere (--witness-key)": (
        "証人がこの台帳を見たこと：証人の鍵をほかから得ていません（--witness-key）"
    ),
    "that there is no newer copy: no checkpoint came by another way (--checkpoint, --server)": (
        "より新しい写しがないこと：別の経路からのチェックポイントがありません"
        "（--checkpoint、--server）"
    ),
    "what log {log} had spent: the inherited spend is its successor's own word (--previous)": (
        "台帳 {log} の使用量：引き継いだ値は後継の台帳自身の言明です（--previous）"
    ),
    "whether the site had another log before this one (--server)": (
        "この拠点に以前の台帳があったかどうか（--server）"
    ),
    "that what the server received is on this log, as it was charged (--statistics, --server)": (
        "サーバーが受け取ったものが、計上どおりこの台帳にあること（--statistics、--server）"
    ),
    "{count} received file(s) of the site's other logs (--previous)": (
        "この拠点のほかの台帳に属する受領ファイル {count} 件（--previous）"
    ),
    "{count} stated epsilons of DP-SGD charges": "DP-SGD の計上に書かれた ε {count} 件",
    "that nothing left the site past its ledger, and that the program which ran is the one named: no"
    " log can show that": (
        "台帳を通さずに拠点から何も出ていないこと、動いたプログラムが記載どおりのものであること"
        "（どの台帳でも示せません）"
    ),
    "no witness has cosigned: a rolled-back copy would look the same": (
        "連署した証人がいません。巻き戻された写しでも同じに見えます"
    ),
    "entries not cosigned yet, which can only add to the spend: {count}": (
        "まだ連署のないエントリ（使用量を増やすことしかできません）：{count} 件"
    ),
    "charges without a release (burned): {count}": "リリースのない計上（失効）：{count} 件",
    "{count} lineages have budgets of their own: if they share people or parts, their epsilons add"
    " up": (
        "{count} つの系統がそれぞれ予算を持っています。同じ人や部品を含むなら、ε は足し合わさります"
    ),
    "the site's clock stepped back at entries {first}": "拠点の時計がエントリ {first} で戻っています",
    "requests decided by people ({names}): {count}; {approved} approved, {denied} denied; charges by"
    " policy alone: {alone}": (
        "人が決めた照会（{names}）：{count} 件（承認 {approved} 件、却下 {denied} 件）。"
        "ポリシーだけによる計上：{alone} 件"
    ),
    "uses of releases that were handed out again, free of charge: {count}": (
        "費用なしで再び渡したリリースの用途：{count} 件"
    ),
    "replaces log {log}: {reason}": "台帳 {log} を置き換えます：{reason}",
}

_PAGE = {
    "Privacy ledger of {site}": "{site} のプライバシー台帳",
    "What left the site under differential privacy, and what it cost. Made {when} UTC by wg-audit"
    " {version}, from the log and what was brought to check it.": (
        "差分プライバシーのもとで拠点から出たものと、その負担です。wg-audit {version} が {when} UTC に、"
        "台帳と照合用の資料から作成しました。"
    ),
    "{entries} entries hold together: hash chain, Merkle tree, {heads} signed checkpoints, budget"
    " arithmetic and caps.": (
        "エントリ {entries} 件は整合しています：ハッシュ連鎖、マークル木、署名済みチェックポイント"
        " {heads} 件、予算の計算、上限。"
    ),
    "What is wrong is not in them.": "問題があるのは、これらではありません。",
    "Not verified": "検証できません",
    "of {total}": "（全体 {total}）",
    "ε spent": "使用した ε",
    "ε spent at δ {delta}": "使用した ε（δ {delta}）",
    "releases": "リリース",
    "burned charges": "失効した計上",
    "entries cosigned": "連署済みエントリ",
    "entries cosigned, by the log's own word": "連署済みエントリ（台帳自身の言明）",
    "On whose word": "誰の言明によるか",
    "What was not checked": "確認していないこと",
    "What deserves a look": "確認をおすすめする点",
    "Budget": "予算",
    "ε {spent} of {cap} at δ {delta} by dp-accounting, {independent} by independent code; {charges}"
    " charges, {burned} burned. Lineage:": (
        "δ {delta} で ε {cap} のうち {spent}（dp-accounting）、独立したコードでは {independent}。"
        "計上 {charges} 件、失効 {burned} 件。系統："
    ),
    "Composed epsilon over the entries of the log, under its cap": (
        "台帳のエントリごとの合成後の ε と上限"
    ),
    "cap {cap}": "上限 {cap}",
    "entry {number}: ε {epsilon:.4g}{burned}": "エントリ {number}：ε {epsilon:.4g}{burned}",
    ", burned": "（失効）",
    "{count} entries": "エントリ {count} 件",
    "Composed ε after each charge, by index of the entry. Hollow: burned, no release. Order is by"
    " index; the site's clock is not trusted.": (
        "計上ごとの合成後の ε です（エントリ番号順）。白抜きは失効（リリースなし）。"
        "拠点の時計は信用しません。"
    ),
    "No data set has a budget on this log.": "この台帳に予算のあるデータセットはありません。",
    "Charges and releases": "計上とリリース",
    "entry": "エントリ",
    "entry {number}": "エントリ {number}",
    "site's clock, UTC": "拠点の時計（UTC）",
    "data set": "データセット",
    "request": "照会",
    "purpose": "目的",
    "recipient": "宛先",
    "ε alone": "単独の ε",
    "ε after": "合成後の ε",
    "release": "リリース",
    "burned": "失効",
    "Nothing was charged, and nothing was released.": "計上もリリースもありません。",
    "Burned charges": "失効した計上",
    "These charges have no release: the site stopped between the charge and the release. They stay"
    " charged.": (
        "これらの計上にはリリースがありません。計上とリリースの間に拠点が停止しました。"
        "計上は取り消されません。"
    ),
    "None: every charge covers exactly one release.": (
        "ありません。どの計上にもリリースがちょうど一つあります。"
    ),
    "Witnesses": "証人",
    "Size of the log at the time of each cosignature": "連署の時点での台帳の大きさ",
    "Entries in the log when a witness cosigned it, by the witness's clock. Each cosignature says"
    " that the log had only grown since the one before.": (
        "証人が連署した時点のエントリ数です（証人の時計）。"
        "連署は、前回から台帳が増えただけであることを示します。"
    ),
    "size": "大きさ",
    "root": "ルート",
    "cosigned by": "連署した証人",
    "key ID": "鍵 ID",
    "witness's clock, UTC": "証人の時計（UTC）",
    " (the log's own word)": "（台帳自身の言明）",
    "No witness has cosigned this log. Nothing outside it proves that it is the newest copy.": (
        "この台帳に連署した証人はいません。最新の写しであることを示すものが外部にありません。"
    ),
    "Decisions of people": "人による決定",
    "A request that a person decided is charged only as it was approved. The names are the site's own"
    " words.": ("人が決めた照会は、承認されたとおりにだけ計上されます。名前は拠点自身の記載です。"),
    "decision": "決定",
    "by": "決定者",
    "approved": "承認",
    "denied": "却下",
    "Releases handed out again": "再び渡したリリース",
    "What was released once may go out again: it costs nothing, and each other use is stated.": (
        "一度公開したものは再び渡せます。費用はかからず、別の用途はその都度記録します。"
    ),
    "charge": "計上",
    "Empirical lower bound": "実験による下限",
    "Canary audits of the release code, recorded by the site. A bound above the claim would prove a"
    " bug; one below proves nothing by itself.": (
        "拠点が記録した、リリースのコードのカナリア監査です。主張を上回る下限は不具合の証拠ですが、"
        "下回っても、それだけでは何の証明にもなりません。"
    ),
    "claimed ε": "主張する ε",
    "lower bound": "下限",
    "parametric": "パラメトリック",
    "canaries": "カナリア",
    "code": "コード",
    "No canary audit is recorded on this log. Run wg-audit empirical on the site's installation.": (
        "この台帳にカナリア監査の記録はありません。拠点の環境で wg-audit empirical を実行してください。"
    ),
    "Data sets and keys": "データセットと鍵",
    "lineage": "系統",
    "cap ε": "上限 ε",
    "commitment (keyed)": "コミットメント（鍵付き）",
    "Origin": "台帳の名前",
    "Root over {entries} entries": "エントリ {entries} 件のルート",
    "Signing key, checkpoints from size {size}": "署名鍵（大きさ {size} 以降のチェックポイント）",
    "Witness {name}, as the log names it": "証人 {name}（台帳の記載）",
    "Every charge, field by field": "すべての計上の詳細",
    "Words are as they stand on the log.": "値は台帳の記載のままです。",
    "The newest {shown} of {all}; the export holds all.": (
        "{all} 件のうち新しい {shown} 件です。エクスポートにはすべてあります。"
    ),
    "Entry {number}: {dataset}": "エントリ {number}：{dataset}",
    "released in entry {number}": "エントリ {number} でリリース",
    "ε, δ of this release": "このリリースの ε、δ",
    "ε before → after, of cap": "ε の前 → 後、上限",
    "refresh rule": "更新の規則",
    "Guarantee": "保証",
    "unit": "単位",
    "neighbouring relation": "隣接関係",
    "variant": "方式",
    "units with several records": "複数レコードの単位",
    "labels ({count})": "ラベル（{count} 個）",
    "not protected": "保護されないもの",
    "none": "なし",
    "none yet": "まだありません",
    "nothing": "なし",
    "Mechanism": "メカニズム",
    "mechanism": "メカニズム",
    "Δ² (grid units)": "Δ²（格子単位）",
    "σ (grid units)": "σ（格子単位）",
    "μ² (units of 2⁻⁴⁰)": "μ²（2⁻⁴⁰ 単位）",
    "blocks (entries × weight)": "ブロック（要素数 × 重み）",
    "clip radius, bits, dimension": "クリップ半径、ビット数、次元",
    "subsampling": "サブサンプリング",
    "q {probability}, {steps} steps": "q {probability}、{steps} ステップ",
    "accountant": "プライバシー会計",
    "encoder": "エンコーダー",
    "Implementation and use": "実装と用途",
    "software": "ソフトウェア",
    "libraries": "ライブラリー",
    "code digest": "コードダイジェスト",
    "post-processing": "後処理",
    "released bytes, SHA-256": "リリースの SHA-256",
    "anchored in checkpoint of size": "固定されたチェックポイントの大きさ",
    "audit run, lower bound": "監査の実行、下限",
}

_LAYERS = {
    "Evidence by layer (NIST SP 800-226)": "層ごとの証拠（NIST SP 800-226）",
    "The differential privacy pyramid, top first: each layer is worth what the layers below it are"
    " worth.": "差分プライバシーのピラミッドです（上から順）。各層の価値は、下の層の価値で決まります。",
    "Layer": "層",
    "What the log shows": "台帳が示すこと",
    "What it cannot show": "台帳では示せないこと",
    "no charge on this log": "この台帳に計上はありません",
    "no budget was registered": "登録された予算はありません",
    "ε and δ": "ε と δ",
    "ε {epsilon:.4f} of a cap of {cap:g} at δ {delta:g}, composed over every charge, also burned"
    " ones": "δ {delta:g} で上限 {cap:g} のうち ε {epsilon:.4f}（失効分を含むすべての計上を合成）",
    "recomputed by independent code: {epsilon:.4f}": "独立したコードでの再計算：{epsilon:.4f}",
    "Whether this ε is acceptable is for people to decide.": (
        "この ε を許容できるかどうかは、人が決めることです。"
    ),
    "Unit of privacy": "プライバシー単位",
    "one {unit}, neighbouring relation {relation}": "{unit} 1 つ、隣接関係 {relation}",
    "several records of a unit: {rule}": "1 単位に複数のレコードがある場合：{rule}",
    "variant: {variant}": "方式：{variant}",
    "That the site's column really names the unit, and that no person or part is in two.": (
        "拠点の列が本当に単位を表すこと、同じ人や部品が二つの単位に入っていないこと。"
    ),
    "Trust model and queries": "信頼の前提と照会",
    "noise is added on site, before anything leaves: the recipient is not trusted": (
        "ノイズは拠点で、外に出る前に加えます。受け取る側を信用しません"
    ),
    "answers: {answers}": "回答：{answers}",
    "fixed statistics whose layout does not depend on the data": (
        "形がデータに依存しない、決まった統計"
    ),
    "checkpoints trained by DP-SGD": "DP-SGD で学習したチェックポイント",
    "witnesses: {witnesses}": "証人：{witnesses}",
    "{names}, by the log's own word": "{names}（台帳自身の言明）",
    "{by} of {witnesses} known by key ({seen})": "鍵のわかる {witnesses} 者のうち {by} 者（{seen}）",
    "named": "記載あり",
    "budget unknown": "予算不明",
    "record": "レコード",
    "add-remove": "追加または削除",
    "log before this one: {status}": "以前の台帳：{status}",
    "That the site itself keeps to this program: its own staff see the data anyway.": (
        "拠点自身がこのプログラムに従うこと（拠点の人はいずれにせよデータを見られます）。"
    ),
    "Algorithms and correctness": "アルゴリズムと正しさ",
    "mechanism: {name}": "メカニズム：{name}",
    "sampling probability, noise multiplier and steps are on each DP-SGD charge, and its cost is"
    " computed from them (checked by two code bases)": (
        "DP-SGD の計上には標本確率、ノイズ倍率、ステップ数があり、負担はそれらから計算します"
        "（二つのコードで確認）"
    ),
    "squared sensitivity {square} and σ are on each charge; both, μ² and ε follow from its blocks and"
    " weights (derived again by other code)": (
        "各計上には感度の二乗 {square} と σ があり、それらと μ²、ε はブロックと重みから導かれます"
        "（別のコードで再度導出）"
    ),
    "accountant: {name}": "プライバシー会計：{name}",
    "canary audit: lower bound ε ≥ {bound} for a claim of {claim} with {canaries} canaries": (
        "カナリア監査：カナリア {canaries} 個、主張 {claim} に対して下限 ε ≥ {bound}"
    ),
    "no canary audit is recorded": "カナリア監査の記録はありません",
    "That the program which ran is the one named: its digest is the site's own statement.": (
        "動いたプログラムが記載どおりのものであること（ダイジェストは拠点自身の言明です）。"
    ),
    "Utility and bias": "有用性と偏り",
    "nothing: results on the site's data stay at the site": (
        "何も示しません。拠点のデータでの結果は拠点に残ります"
    ),
    "quality reports: {count}, noisy counts of how often delivered candidates were right;"
    " all other results on the site's data stay at the site": (
        "正解率の報告：{count} 件（配布した候補の正解数にノイズを加えたもの）。"
        "拠点のデータでのほかの結果は拠点に残ります"
    ),
    "Noise weighs more on rare classes; the site's own report says how much.": (
        "ノイズはまれなクラスほど強く効きます。程度は拠点自身のレポートにあります。"
    ),
    "Side channels": "サイドチャネル",
    "floating point: {what}": "浮動小数点：{what}",
    "timing: {what}": "タイミング：{what}",
    "randomness: {what}": "乱数：{what}",
    "a refusal does not depend on the data: the budget is public arithmetic": (
        "拒否はデータに依存しません（予算は公開された計算です）"
    ),
    "Whether and when a site answers, power, caches, and other programs on its machines.": (
        "拠点が回答するかどうかとその時刻、電力、キャッシュ、同じ機械で動くほかのプログラム。"
    ),
    "Data security and access control": "データの安全とアクセス制御",
    "{size} entries in one hash chain and Merkle tree, {heads} signed checkpoints, all verified": (
        "エントリ {size} 件のハッシュ連鎖とマークル木、署名済みチェックポイント {heads} 件をすべて検証"
    ),
    "cosigned up to entry {to} of {size}{by}": "{size} 件中 {to} 件目まで連署{by}",
    ", by the log's own word": "（台帳自身の言明）",
    "newest cosignature: {age}": "最新の連署：{age}",
    "no witness is known by key": "鍵のわかる証人はいません",
    "{when} UTC, {age} before this verification": "{when} UTC（この検証の {age}前）",
    "received files held against their charges: {count}": "計上と照合した受領ファイル：{count} 件",
    "{count} signing key(s), each rotation signed by both keys": (
        "署名鍵 {count} 個（更新はすべて新旧両方の鍵で署名）"
    ),
    "A release that bypasses the ledger: only the site's network policy can stop it; the server"
    " refuses statistics that no entry covers.": (
        "台帳を通さないリリース：止められるのは拠点のネットワーク管理だけです。"
        "サーバーは、エントリのない統計を拒否します。"
    ),
    "Data collection exposure": "データ収集時の露出",
    "taken as public: {what}": "公開とみなすもの：{what}",
    "How the data were collected, who else holds them, and what was published before.": (
        "データをどう集めたか、ほかに誰が持っているか、以前に何が公開されたか。"
    ),
}

_CHARGES = {
    "each record is a unit": "各レコードが 1 単位",
    "the m records of a unit weigh 1/m each": "1 単位にある m 件のレコードの重みは各 1/m",
    "at most {cap} records of a unit count": "1 単位につき最大 {cap} 件のレコードを数える",
    "gradients of a unit's records are summed, and clipped as one": (
        "1 単位のレコードの勾配を合計し、まとめてクリップ"
    ),
    "(epsilon, delta)-DP by Gaussian DP": "ガウス DP による (ε, δ)-DP",
    "(epsilon, delta)-DP by privacy loss distributions": "プライバシー損失分布による (ε, δ)-DP",
    "joint discrete Gaussian over exact integers": "整数上の同時離散ガウス（厳密）",
    "two discrete Gaussians over exact integers, sums about a centre from the first": (
        "整数上の離散ガウス 2 つ（厳密。合計は、1 つ目から得た中心のまわりで計算）"
    ),
    "discrete Gaussian over exact counts of right answers of package {package}": (
        "パッケージ {package} の正解数（厳密な整数）に離散ガウス雑音"
    ),
    "DP-SGD of a linear head on frozen features; {recipe}": (
        "固定した特徴の上の線形ヘッドの DP-SGD。{recipe}"
    ),
    "dp-accounting {version} PLD, add or remove one": (
        "dp-accounting {version} の PLD（1 単位の追加または削除）"
    ),
    "exact integer statistics and an exact discrete sampler": (
        "厳密な整数の統計と、厳密な離散サンプラー"
    ),
    "clipped sums on an integer grid and an exact discrete sampler": (
        "整数格子上のクリップした合計と、厳密な離散サンプラー"
    ),
    "answers in fixed time slots": "決まった時間枠で回答",
    "made on the site's own request; nobody waits for an answer": (
        "拠点自身の操作で作成（回答を待つ相手はなし）"
    ),
    "OpenDP's cryptographic generator, in user space (AES CTR-DRBG), seeded by the operating"
    " system": "OpenDP の暗号用乱数生成器（ユーザー空間の AES CTR-DRBG、種は OS から）",
    "sampling coins: operating system; noise: {source}": "抽出の乱数：OS、ノイズ：{source}",
    "label domain": "ラベルの範囲",
    "clip radius": "クリップ半径",
    "feature projection": "特徴の射影",
    "package and its candidates": "パッケージとその候補",
    "training plan": "学習計画",
    "that, when and how often the site releases": "拠点がリリースしたこと、その時期と回数",
}

SENTENCES: Mapping[str, str] = {**_SHELL, **_AUDIT, **_VERDICT, **_PAGE, **_LAYERS, **_CHARGES}
