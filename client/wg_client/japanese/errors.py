"""Errors that plants meet most, and why a file cannot be used: English shape -> Japanese.

Told by their shape (``language.Catalogue``): they are written as f-strings, stored and logged. What
stands before the first colon, mostly a file, is no part of a shape.
"""

from __future__ import annotations

from collections.abc import Mapping

_REFUSED = {
    "data set {name}: epsilon {after} after this release, the cap is {cap} at delta {delta}"
    " ({before} is spent)": (
        "データセット {name}：このリリースのあとの ε は {after} になり、上限 {cap}（δ {delta}）を"
        "超えます（使用済み {before}）"
    ),
    "{what}: {name} {asked}, this plant allows {most} a request": (
        "{what}：{name} が {asked} です。この工場が認めるのは一回の要求で {most} までです"
    ),
    "this plant does not allow its purpose": "この目的は、この工場のポリシーで認められていません",
    "purpose is too long or not printable": "目的の文が長すぎるか、表示できない文字があります",
    "expired at {expires}": "期限切れです（{expires}）",
    "encoder {theirs}, this plant holds {ours}": (
        "エンコーダーが {theirs} です。この工場のものは {ours} です"
    ),
    "this plant answers {answered}": "この工場が答えるのは {answered} です",
    "waits for a person; see 'wg-client requests show --home {home} {request}'": (
        "人の決定を待っています。'wg-client requests show --home {home} {request}' を見てください"
    ),
    "denied by {name}": "{name} が断りました",
    "{what} is {got}, approved was {want}": "{what} が {got} です。承認されたのは {want} です",
    "a person decides each release, and the name goes on the ledger; say who: --by NAME": (
        "リリースごとに人が決め、その名前が台帳に残ります。--by で決める人を指定してください"
    ),
    "{slot} is too short for this data set: an answer might take longer, and that would show how"
    " many records there are; set {fitting}, and freeze again": (
        "{slot} はこのデータセットには短すぎます。答えるのが間に合わないと件数が知られてしまいます。"
        "{fitting} に設定し、もう一度凍結してください"
    ),
}

_FILES = {
    "not there": "見つかりません",
    "not there; run 'wg-client init --home {home} ...' first": (
        "見つかりません。先に 'wg-client init --home {home} ...' を実行してください"
    ),
    "expected a folder, a .npz file, a table of texts, or a sensor log{hint}": (
        "フォルダー、.npz ファイル、文章の表、または計測ログを指定してください{hint}"
    ),
    "; unpack it, and name the folder": "。展開して、そのフォルダーを指定してください",
    "no record can be used, nothing can be simulated{why}": (
        "使えるデータがなく、試算できません{why}"
    ),
    "one file; if it is a long sensor log, say how windows are cut: --window": (
        "一つのファイルです。長い計測ログなら、--window で窓の長さを指定してください"
    ),
    "no folder names a class; declare the labels (--labels a,b,c)": (
        "クラス名のフォルダーがありません。--labels a,b,c でラベルを宣言してください"
    ),
    "no labels; declare them (--labels a,b,c)": (
        "ラベルがありません。--labels a,b,c で宣言してください"
    ),
    "nothing was frozen: {count} records or files cannot be used, first {name}: {why}; {mend}": (
        "凍結していません。使えないものが {count} 件あります。最初は {name}：{why}。{mend}"
    ),
    "mend them, or leave them out with --set-aside": "直すか、--set-aside で除外してください",
    "mend them; what is in two privacy units cannot be set aside": (
        "直してください。二つのプライバシー単位にあるものは除外できません"
    ),
    "an empty file, 0 bytes; expected an image": "空のファイルです（0 バイト）。画像が必要です",
    "not an image of {formats}, or damaged at its beginning": (
        "{formats} の画像ではないか、先頭が壊れています"
    ),
    "damaged image: {error}": "画像が壊れています（{error}）",
    "a huge image: at most {most} pixels are decoded; reduce it first": (
        "画像が大きすぎます。{most} 画素まで読めます。縮小してください"
    ),
    "a huge image: {width}x{height} pixels, at most {most} are decoded; reduce it first": (
        "画像が大きすぎます（{width}x{height} 画素）。{most} 画素まで読めます。縮小してください"
    ),
    "several pages, expected one; save each page as a file of its own": (
        "複数ページのファイルです。1 ページごとに別のファイルにしてください"
    ),
    "a value of {value}, which {bits} bits do not hold; set data.reading.bits to how many bits your"
    " camera fills": (
        "値 {value} は {bits} ビットに収まりません。data.reading.bits をカメラのビット数にしてください"
    ),
    "pixels of mode {mode}, expected 8 or 16 bit gray or colour": (
        "画素の形式が {mode} です。8 または 16 ビットの白黒かカラーが必要です"
    ),
    "label {label} is not declared; declared are {labels}": (
        "ラベル {label} は宣言されていません。宣言済みは {labels} です"
    ),
    "no column {column}; found {found}, expected {wanted}": (
        "列 {column} がありません。あるのは {found}、必要なのは {wanted} です"
    ),
    "column {column} stands there twice; keep one": (
        "列 {column} が二つあります。一つだけ残してください"
    ),
    "the same content has labels {labels}": "同じ内容に複数のラベルがあります（{labels}）",
    "the same content is in units {units}": "同じ内容が複数の単位にあります（{units}）",
    "its name is not UTF-8": "ファイル名が UTF-8 ではありません",
    "a link to a folder; links are not followed: copy the records, or move them": (
        "フォルダーへのリンクはたどりません。データをコピーするか移動してください"
    ),
    "a link that leads out of the folder": "フォルダーの外へ出るリンクです",
    "left behind by a program; delete it": "プログラムが残したものです。削除してください",
    "save it as JPEG or PNG": "JPEG か PNG で保存してください",
    "save it as PNG": "PNG で保存してください",
    "save the sheet as CSV": "シートを CSV で保存してください",
    "boxes and masks are not read: a record has one class as a whole": (
        "枠やマスクは読みません。一件のデータには全体で一つのクラスを付けます"
    ),
    "unpack it first": "先に展開してください",
    "not a text in {encodings}; save it as UTF-8, or say its encoding": (
        "文字コードが {encodings} ではありません。UTF-8 で保存するか、文字コードを指定してください"
    ),
    "UTF-8, UTF-16 with its mark, or CP932 (Shift-JIS)": (
        "UTF-8、印（BOM）付き UTF-16、CP932（Shift-JIS）"
    ),
    "a label stands there twice": "同じラベルが二つあります",
    "{label}: expected 1 to 100 printable characters without white space at either end": (
        "{label} は使えません。両端に空白のない、表示できる 1～100 文字にしてください"
    ),
}

_NETWORK = {
    "the server refused this site's certificate": (
        "サーバーがこの拠点の証明書を受け付けませんでした"
    ),
    "a certificate has expired (or this machine's clock is wrong)": (
        "証明書の期限が切れています（またはこの計算機の時計が違っています）"
    ),
    "the server's certificate does not verify against the pinned CA: {why}": (
        "サーバーの証明書が、登録時に確かめた認証局のものではありません（{why}）"
    ),
    "the connection was closed while TLS began: something else than this server's enrolment or fleet"
    " port answers there, or the port is the other of the two": (
        "TLS の開始時に接続が閉じられました。このサーバーの登録用・通信用以外のポートか、二つを取り"
        "違えています"
    ),
    "the server did not answer in time": "サーバーが時間内に答えませんでした",
    "cannot be reached: {why}": "接続できません（{why}）",
    "this machine's clock is {seconds} s {where} the server's": (
        "この計算機の時計がサーバーと {seconds} 秒ずれています（{where}）"
    ),
    "the server does not know this node (yet)": "サーバーはこのノードを（まだ）知りません",
    "the server refused this site: revoked, or the certificate belongs to another key; or its"
    " campaign has ended": (
        "サーバーがこの拠点を断りました。失効したか、証明書の鍵が違うか、キャンペーンが終わっています"
    ),
    "the server answered {status}": "サーバーの応答は {status} でした",
    "the server refused ({status}): {words}": "サーバーが断りました（{status}：{words}）",
    "expired; ask the operator for a new one": (
        "期限切れです。運用者に新しいものを依頼してください"
    ),
    "damaged, copy it again": "壊れています。もう一度コピーしてください",
    "expected one word beginning with {prefix}": "{prefix} で始まる一語が必要です",
}

ERRORS: Mapping[str, str] = {**_REFUSED, **_FILES, **_NETWORK}
