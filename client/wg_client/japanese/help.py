"""``--help``: each paragraph of a command's text, and each option's, by its English."""

from __future__ import annotations

from collections.abc import Mapping

_SHARED = {
    "The plant's side of weightgate: private statistics out, made-to-measure weights in.": (
        "weightgate の工場側です。出ていくのはノイズを加えた統計、届くのは工場に合わせた重みです。"
    ),
    "Form of the log on standard error; json: one object a line.": (
        "標準エラーに出るログの形式。json では一行に一つのオブジェクトです。"
    ),
    "The plant's home folder.": "工場のホームフォルダー。",
}

_DATA = {
    "Folder of class folders, folder with records.csv, .npz file, or sensor logs (--window).": (
        "クラスごとのフォルダーを入れたフォルダー、records.csv のあるフォルダー、.npz ファイル、"
        "または計測ログ（--window）。"
    ),
    "Folder of class folders, folder with records.csv, .npz file, table of texts, sensor logs"
    " (--window).": (
        "クラスごとのフォルダーを入れたフォルダー、records.csv のあるフォルダー、.npz ファイル、"
        "文章の表、または計測ログ（--window）。"
    ),
    "Label domain, a,b,c, with classes that you have never seen. Default: folders.": (
        "ラベル集合（a,b,c）。見たことのないクラスも含めます。省略するとフォルダー名です。"
    ),
    "Label domain, a,b,c. It is public. Default: folder names.": (
        "ラベル集合（a,b,c）。公開されます。省略するとフォルダー名です。"
    ),
    "Column or array that names the privacy unit of a record.": (
        "データのプライバシー単位を示す列、または配列。"
    ),
    "How records of one unit count. Default: weight if there is a unit column.": (
        "一つの単位に属するデータの数え方。単位の列があれば、省略時は weight です。"
    ),
    "For --unit-rule cap.": "--unit-rule cap のときの件数。",
    "How many of a grey pixel's 16 bits the camera fills.": (
        "16 ビットの白黒画素のうち、カメラが使うビット数。"
    ),
    "Of tables; auto knows UTF-8, UTF-16 and CP932 (Shift-JIS).": (
        "表の文字コード。auto は UTF-8、UTF-16、CP932（Shift-JIS）を見分けます。"
    ),
    "Cut long sensor logs (CSV, Parquet, WAV) into windows of this length.": (
        "長い計測ログ（CSV、Parquet、WAV）をこの長さ（秒）の窓に切ります。"
    ),
    "From window to window; default: the window, so that none overlap.": (
        "窓と窓の間隔（秒）。省略すると窓の長さと同じで、重なりません。"
    ),
    "Samples a second; default: what the first log's times say.": (
        "毎秒のサンプル数。省略すると最初のログの時刻から求めます。"
    ),
    "Column of time stamps; gaps are found by them.": "時刻の列。途切れはこの列で見つけます。",
    "Columns that are channels, a,b,c; default: all numbers.": (
        "チャンネルとする列（a,b,c）。省略すると数値の列すべてです。"
    ),
    "Column with the label of each row.": "各行のラベルの列。",
    "Table in the folder of logs with start, end and label.": (
        "ログのフォルダーにある、start、end、label の列を持つ表。"
    ),
    "Leave out what cannot be used, and freeze the rest.": (
        "使えないものを除外し、残りを凍結します。"
    ),
    "Go on without a single record; needs declared labels.": (
        "データが一件もなくても続けます。ラベルの宣言が必要です。"
    ),
    "Check, encode and fix the data set; releases are made from this snapshot alone.": (
        "データセットを確認し、特徴量に変換して固定します。リリースはこのスナップショットだけから"
        "作られます。"
    ),
    "Ends with code 3 and changes nothing if a record cannot be used, unless --set-aside. Each"
    " freeze is a new version of the data set, whose releases are charged anew.": (
        "使えないデータがあると、--set-aside がない限り何も変えずにコード 3 で終わります。凍結のたびに"
        "データセットの新しい版ができ、そのリリースは新たに計上されます。"
    ),
    "Show what the client sees, what would leave and what it would cost. Sends nothing.": (
        "何が見えていて、何が出て、どれだけ予算を使うかを表示します。何も送信しません。"
    ),
    "Exit code 4: policy or budget would refuse such a release.": (
        "終了コード 4：ポリシーか予算により、そのリリースは拒否されます。"
    ),
    "Epsilon of the release; default: the policy's most.": (
        "リリースの ε。省略するとポリシーの最大値です。"
    ),
    "Delta of the release; default: the policy's most.": (
        "リリースの δ。省略するとポリシーの最大値です。"
    ),
}

_SIMULATE = {
    "Simulate, on your records alone: what may be gained, what would leave, what it would cost.": (
        "手元のデータだけで試算します。期待できる改善、出ていくもの、プライバシーの負担を表示します。"
    ),
    "Needs no server and no token. Sends nothing, charges nothing; writes the sheet, if asked.": (
        "サーバーも参加トークンも不要です。何も送信せず、計上もしません。指定があればシートを書きます。"
    ),
    "Other plants with your classes that take part. Ask the operator.": (
        "同じクラスを持つ、参加中のほかの工場の数。運用者に尋ねてください。"
    ),
    "The operator's encoder package; default: what is installed.": (
        "運用者のエンコーダーのファイル。省略するとインストール済みのものです。"
    ),
    "Also write a return-on-investment sheet, one HTML page.": (
        "投資対効果シート（HTML 1 ページ）も書きます。"
    ),
    "YAML file with what only you know, for the sheet: label_seconds, hour_cost, ...": (
        "シートのための、工場だけが知る値の YAML ファイル（label_seconds、hour_cost など）。"
    ),
    "Epsilon that the sheet is about.": "シートで扱う ε。",
}

_JOIN = {
    "Make keys on site, enrol with the server, write client.yaml, and freeze the data set.": (
        "鍵を工場内で作り、サーバーに登録し、client.yaml を書き、データセットを凍結します。"
    ),
    "The encoder, which sees every record, comes from the server. The join token names it by its"
    " hash; on a terminal you are asked whether it is the one that the operator told you.": (
        "すべてのデータを見るエンコーダーは、サーバーから届きます。参加トークンにそのハッシュが"
        "入っています。端末では、運用者から聞いたものと同じかどうかを確認します。"
    ),
    "Join token from 'wg-server enroll'; '-' reads it from standard input.": (
        "'wg-server enroll' の参加トークン。'-' は標準入力から読みます。"
    ),
    "File with the join token and nothing else.": "参加トークンだけを書いたファイル。",
    "Enrol an initialised home again: new transport keys; data, policy and ledger stay.": (
        "既存のホームを登録し直します。通信用の鍵は新しくなり、データ、ポリシー、台帳はそのままです。"
    ),
    "The encoder that you want: its SHA-256, or 16 or more of its first hex digits.": (
        "使うエンコーダーの SHA-256、または先頭 16 桁以上の 16 進数。"
    ),
    "A second encoder for this plant's own models: efficientnet-lite2, or a YAML file that names an ONNX"
    " file (docs/plant-guide.md). Nothing of it leaves.": (
        "この工場のモデルだけに使う二つ目のエンコーダー。efficientnet-lite2、または ONNX ファイルを示す"
        " YAML ファイル（docs/plant-guide.md）。これから出ていくものはありません。"
    ),
    "Public name of the data set; default: the site's name.": (
        "データセットの公開名。省略すると拠点名です。"
    ),
    "Another home of this plant, at another server: both draw on its one budget and ledger.": (
        "別のサーバーに登録した、この工場のもう一つのホーム。予算と台帳を一つにします。"
    ),
    "Cap on what all releases of this data set cost together. Default: 8, or that of --budget-of.": (
        "このデータセットの全リリースを合わせた上限の ε。省略すると 8、または --budget-of の値です。"
    ),
    "Largest epsilon of one request. Default: 4, or the cap if that is smaller.": (
        "一回の要求の最大の ε。省略すると 4、上限のほうが小さければ上限です。"
    ),
}

_ANSWER = {
    "Connect to the server and answer it, within the policy, until stopped.": (
        "サーバーに接続し、止めるまで、ポリシーの範囲で答えます。"
    ),
    "Logs go to standard error; --log-format json makes each line one object.": (
        "ログは標準エラーに出ます。--log-format json では一行が一つのオブジェクトです。"
    ),
    "End after one weights package was applied.": "重みパッケージを一つ適用したら終わります。",
    "With --once: print what was applied as one document.": (
        "--once と合わせて、適用した内容を一つの文書で表示します。"
    ),
    "See and decide what the server asks, where privacy.approve is 'human'.": (
        "サーバーの要求を見て、人が決めます（privacy.approve が 'human' のとき）。"
    ),
    "List requests that came and have not expired, and what was decided.": (
        "届いていて期限内の要求と、その決定を一覧にします。"
    ),
    "Show one request: what would leave, and what it would cost. Sends nothing.": (
        "一つの要求について、出ていくものと負担を表示します。何も送信しません。"
    ),
    "Let one request be answered; the decision and NAME go on the ledger.": (
        "一つの要求に答えることを認めます。決定と名前は台帳に残ります。"
    ),
    "Who decides; a role will do. It stays on the ledger, and auditors read it.": (
        "決める人。役職名でもかまいません。台帳に残り、監査人が読みます。"
    ),
    "Refuse one request; the decision and NAME go on the ledger.": (
        "一つの要求を断ります。決定と名前は台帳に残ります。"
    ),
    "Charge and write one release to a file, for a server that is not connected.": (
        "計上して、リリースを一つファイルに書きます。接続していないサーバーのためのものです。"
    ),
    "The .wgs file.": ".wgs ファイル。",
    "Who approves, where privacy.approve is 'human'; a role will do. It goes on the ledger.": (
        "承認する人（privacy.approve が 'human' のとき）。役職名でもかまいません。台帳に残ります。"
    ),
    "Charge, train a head with DP-SGD, and write it to a file for the server's zoo.": (
        "計上し、差分プライベート SGD でヘッドを学習し、サーバーのためのファイルに書きます。"
    ),
    "The .wgc file.": ".wgc ファイル。",
    "What the checkpoint may be used for.": "寄与チェックポイントの利用目的。",
    "What the release may be used for.": "リリースの利用目的。",
    "Steps of DP-SGD.": "差分プライベート SGD のステップ数。",
    "Length to which a unit's gradient is clipped.": "一つの単位の勾配を切り詰める長さ。",
    "0: such that the noise of all steps leaves each weight with a deviation of one.": (
        "学習率。0 なら、全ステップのノイズで各重みの標準偏差が 1 になるように決めます。"
    ),
    "Probability with which a privacy unit enters a step.": (
        "一つのプライバシー単位が各ステップに入る確率。"
    ),
    "Public guess of the number of privacy units, not their count; bounds the step.": (
        "プライバシー単位の数の公開できる見積もり（実際の数ではありません）。ステップの大きさを抑えます。"
    ),
    "Show what left, what it cost, and what is left of the budget.": (
        "出たもの、かかった負担、予算の残りを表示します。"
    ),
}

_MODELS = {
    "Verify a weights package, compare it with local-only, keep what is better.": (
        "重みパッケージを検証し、自社のみのモデルと比べ、良いほうを採用します。"
    ),
    "Ends with code 6 if local-only was kept.": (
        "自社のみのモデルを採用したときは、コード 6 で終わります。"
    ),
    "See the models made at this plant, export them, and say which one is in use.": (
        "この工場で作ったモデルを見る、書き出す、使用するものを決める。"
    ),
    "List every model of every package.": "すべてのパッケージのすべてのモデルを一覧にします。",
    "Show where a package's models come from, and why one was kept.": (
        "パッケージのモデルの由来と、採用の理由を表示します。"
    ),
    "Package id; default: the one in use.": "パッケージの ID。省略すると使用中のものです。",
    "Write a whole model, records to logits, as one file.": (
        "入力からロジットまでのモデル全体を、一つのファイルに書きます。"
    ),
    "Which model; default: the one in use, or the package's kept one.": (
        "モデル。省略すると使用中のもの、またはパッケージで採用されたものです。"
    ),
    "Default: what the name of --out says, or safetensors.": (
        "省略すると --out の名前に従い、なければ safetensors です。"
    ),
    "Default: MODEL.SUFFIX here.": "省略すると、ここに MODEL.SUFFIX の名前で書きます。",
    "Put a model in use: predict and export take it from now on.": (
        "モデルを使用中にします。以後、predict と export はこれを使います。"
    ),
    "Which of the package's models.": "パッケージの中のモデル。",
    "Who decides; a role will do. It stays in the log.": (
        "決める人。役職名でもかまいません。履歴に残ります。"
    ),
    "Go back to the model that was in use before this one.": "一つ前に使用していたモデルに戻します。",
    "Let a model predict beside the one in use; without PACKAGE: show what came of it.": (
        "使用中のモデルと並行して予測させます。PACKAGE がなければ、その結果を表示します。"
    ),
    "While there is a shadow, 'predict' asks both models. The one in use decides, as before.": (
        "並行予測の間、'predict' は両方のモデルに尋ねます。決めるのは、これまでどおり使用中のモデルです。"
    ),
    "End the shadow.": "並行予測をやめます。",
    "Who decides, with PACKAGE or --stop.": "決める人（PACKAGE か --stop とともに）。",
    "Put the model in shadow in use.": "並行予測中のモデルを使用中にします。",
    "Show every change of the model in use: when, what, who, why.": (
        "使用中のモデルの変更をすべて表示します（いつ、何を、誰が、なぜ）。"
    ),
    "Predict labels of record files, folders of them, or .npz files.": (
        "データのファイル、そのフォルダー、または .npz ファイルのラベルを予測します。"
    ),
    "A line has the file, its label, the label's probability, the likeness to the plant's own"
    " records (the share of these that are at least as odd), and what the call is worth: sure,"
    " unsure, or new for a record that is unlike all the others.": (
        "一行に、ファイル、ラベル、その確率、既知度（自社のデータのうち、同じかそれ以上に変わったものの"
        "割合）、判定の確かさを示します。確かさは sure（確か）、unsure（不確か）、new（ほかのどれとも"
        "似ていない）です。"
    ),
    "A file that cannot be read is named and left out; the others are predicted, and the command"
    " ends with code 3.": (
        "読めないファイルは名前を示して除き、ほかを予測して、コード 3 で終わります。"
    ),
    "Also the accuracy of every model; needs labels.": (
        "すべてのモデルの精度も表示します。ラベルが必要です。"
    ),
    "For a .npz with 'split': only records of this value.": (
        "'split' のある .npz では、この値のデータだけを使います。"
    ),
    "A CSV file: file, label, probability, likeness, call.": (
        "CSV ファイル（列は file、label、probability、likeness、call）。"
    ),
    "A folder for a PNG of each image, what is unlike the plant's own in red.": (
        "画像ごとの PNG を入れるフォルダー。自社のデータと似ていない部分が赤くなります。"
    ),
    "Say of each record how like the plant's own it is. Needs no labels, server or weights.": (
        "データごとに、自社のデータとどれだけ似ているかを示します。ラベルもサーバーも重みも不要です。"
    ),
    "A line has the file, the share of the plant's own records that are at least as odd, and"
    ' "new" where that share is at most prediction.new of client.yaml.': (
        "一行に、ファイルと、自社のデータのうち同じかそれ以上に変わったものの割合を示します。割合が"
        " client.yaml の prediction.new 以下なら new と付きます。"
    ),
    "Hold new records against the frozen ones: drift, new kinds, unsure calls. Sends nothing.": (
        "新しいデータを凍結したものと比べます（変化、新しい種類、不確かな判定）。何も送信しません。"
    ),
    "Ends with code 6 if there is an alarm. Of a hundred batches of records like the frozen ones,"
    " one raises an alarm; records of one part are not independent, so take one of each.": (
        "警報があるとコード 6 で終わります。凍結したものと同じようなデータでも、100 回に 1 回は警報が"
        "出ます。同じ部品のデータは独立ではないので、部品ごとに一件にしてください。"
    ),
    "How many records worth labelling to name.": "ラベルを付ける価値のあるデータを何件示すか。",
}

_KEEPING = {
    "Get a fresh TLS certificate now. A running node does so by itself when it is due.": (
        "新しい TLS 証明書を今すぐ受け取ります。動いているノードは、期限が来ると自動で受け取ります。"
    ),
    "Show who witnesses the ledger, and what a new witness's operator must be given.": (
        "台帳の証人と、新しい証人の運用者に渡すものを表示します。"
    ),
    "Keep the server's cosignature that came in FILE, from 'wg-server witness'.": (
        "FILE で届いたサーバーの連署（'wg-server witness'）を保存します。"
    ),
    "A weights package carries one too, and 'wg-client apply' keeps it.": (
        "重みパッケージにも連署が入っていて、'wg-client apply' が保存します。"
    ),
    "Sign the ledger with a new key; the old one signs for it, and the server learns it.": (
        "台帳の署名を新しい鍵に切り替えます。古い鍵が新しい鍵に署名し、サーバーに伝わります。"
    ),
    "Run it again if it was cut off: it goes on where it stopped.": (
        "途中で切れたら、もう一度実行してください。続きから始まります。"
    ),
    "Give up a ledger whose key was lost or stolen. All that was spent moves to a new one.": (
        "鍵を失った、または盗まれた台帳をやめます。使用済みの予算は新しい台帳に引き継がれます。"
    ),
    "Stop the node first. Every key of the plant is made anew.": (
        "先にノードを止めてください。工場の鍵はすべて新しくなります。"
    ),
    "Why, in a few words; goes on the new ledger.": "理由を短く。新しい台帳に残ります。",
    "Where the encoder is to be another: its SHA-256.": (
        "エンコーダーを替えるときは、その SHA-256。"
    ),
    "Try to catch the installed release code, and put the outcome on the ledger.": (
        "インストール済みのリリースのプログラムを試し、結果を台帳に書きます（カナリア監査）。"
    ),
    "Made-up records only; costs no budget; about a minute. Ends with code 5 if the code gives less"
    " privacy than it claims; that is recorded as well.": (
        "作り物のデータだけを使い、予算は使いません。約 1 分かかります。うたっているより弱い保護しか"
        "ないときはコード 5 で終わり、それも記録されます。"
    ),
    "The claim to test.": "確かめる ε。",
    "Delta of the claim to test.": "確かめる δ。",
    "Releases to make; more find smaller violations.": (
        "作るリリースの数。多いほど小さな違反が見つかります。"
    ),
    "Show how the plant is: node, certificate, budget, data, model, and what needs a hand.": (
        "工場の状態を表示します（ノード、証明書、予算、データ、モデル、手当てが必要なこと）。"
    ),
    "One line, and code 7 unless the server answered the node lately: for a supervisor.": (
        "一行だけ表示し、最近サーバーがノードに答えていなければコード 7 で終わります。監視用です。"
    ),
    "Write the home into one encrypted file: keys, ledger, snapshots, models.": (
        "ホームを一つの暗号化ファイルに書きます（鍵、台帳、スナップショット、モデル）。"
    ),
    "The node may run meanwhile. The data set itself is not in it.": (
        "ノードは動いたままでかまいません。データセットそのものは入りません。"
    ),
    "File to write.": "書き込むファイル。",
    "Who can open it: an age recipient, from 'age-keygen'. Repeat it for several.": (
        "開ける人：'age-keygen' の age 受信者。複数なら繰り返します。"
    ),
    "File with the passphrase; '-' is standard input.": (
        "パスフレーズのファイル。'-' は標準入力です。"
    ),
    "Make a new home from a backup, if the server has seen nothing newer of its ledger.": (
        "バックアップから新しいホームを作ります。サーバーがより新しい台帳を見ていないときに限ります。"
    ),
    "A file of 'wg-client backup'.": "'wg-client backup' のファイル。",
    "The note of 'wg-server checkpoint', of today, where the server cannot be reached.": (
        "サーバーに届かないときは、今日の 'wg-server checkpoint' のファイル。"
    ),
    "There is no newer backup: restore for 'wg-client compromise', and for nothing else.": (
        "より新しいバックアップがないとき。'wg-client compromise' のためだけに復元します。"
    ),
    "File with the age identity; '-' is standard input.": (
        "age の秘密鍵のファイル。'-' は標準入力です。"
    ),
}

HELP: Mapping[str, str] = {
    **_SHARED,
    **_DATA,
    **_SIMULATE,
    **_JOIN,
    **_ANSWER,
    **_MODELS,
    **_KEEPING,
}
