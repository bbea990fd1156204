"""``--help`` of ``wg-audit``, and of what all commands share, by its English."""

from __future__ import annotations

from collections.abc import Mapping

_SHARED = {
    "Show the version and exit.": "バージョンを表示して終わります。",
    "Of what people read; default: client.yaml's, or the environment's.": (
        "人が読む表示の言語。省略すると client.yaml、または環境の言語です。"
    ),
    "Print one JSON document on standard output.": "標準出力に JSON 文書を一つ表示します。",
}
_COMMANDS = {
    "Verify offline what a site released and what it cost, and say on whose word.": (
        "拠点が何を出し、どれだけ予算を使ったかをオフラインで検証し、誰の言葉によるかを示します。"
    ),
    "Verify PATH: a ledger export (.wgl), or a client's home folder.": (
        "台帳の書き出し（.wgl）、または工場のホームフォルダー（PATH）を検証します。"
    ),
    "A log proves nothing by its own word alone: bring the keys, and a checkpoint or the server's"
    " folder. The verdict says what was compared, and what was not.": (
        "台帳自身の言葉だけでは何の証明にもなりません。鍵と、チェックポイントまたはサーバーのフォルダーを用意してください。"
        "判定には、何と比べたか、何を比べていないかが示されます。"
    ),
    "Write a client's ledger to a file that anyone can verify. Holds no released numbers.": (
        "工場の台帳を、誰でも検証できるファイルに書きます。出した数値は入りません。"
    ),
    "Verify PATH and write one self-contained HTML page about it, to read, print and file.": (
        "PATH を検証し、読む、印刷する、保管するための HTML ページを一つ書きます。"
    ),
    "Try to catch the installed release code giving less privacy than it claims.": (
        "インストール済みのリリースのプログラムが、主張より弱いプライバシーしか与えないことがないかを試します。"
    ),
    "Tests the mechanism, and, where the plant's program is installed, the whole path from made-up"
    " files through snapshot, encoder and release to the file that would leave.": (
        "仕組みそのものを試します。工場のプログラムがインストールされていれば、作り物のファイルからスナップショット、"
        "エンコーダー、リリースを通って出ていくファイルまで、全体を試します。"
    ),
    "Verify PATH and write a draft for the Differential Privacy Deployments Registry.": (
        "PATH を検証し、差分プライバシー導入登録簿（Differential Privacy Deployments Registry）の下書きを書きます。"
    ),
    "What the log cannot know is left for a person, and named.": (
        "台帳からわからないことは人に任せ、その名前を示します。"
    ),
    "Print the digest of the program's code, which charges state, and the files that it covers.": (
        "計上に書かれるプログラムのダイジェストと、その対象のファイルを表示します。"
    ),
    "The file list is what sha256sum prints, and its SHA-256 is the digest.": (
        "ファイルの一覧は sha256sum の表示と同じで、その SHA-256 がダイジェストです。"
    ),
}
_OPTIONS = {
    "The client's home folder.": "工場のホームフォルダー。",
    "The export to write (.wgl).": "書き出すファイル（.wgl）。",
    "The HTML page to write.": "書く HTML ページ。",
    "The claim to test.": "試す主張（ε）。",
    "Delta of the claim to test.": "試す主張の δ。",
    "Releases to make; more find smaller violations.": (
        "作るリリースの数。多いほど小さな違反も見つかります。"
    ),
    "Of what is made up; the same seed makes the same.": (
        "作り物のデータの種。同じ種からは同じものができます。"
    ),
    "The YAML file to write; standard output if not given.": (
        "書く YAML ファイル。省略すると標準出力です。"
    ),
    "A wheel to read instead of what is installed here.": (
        "ここにインストールされたものの代わりに読む wheel。"
    ),
    "The site's ledger key, as the server knows it.": "サーバーが知っている、拠点の台帳の鍵。",
    "A witness's name and key, as it publishes them; only cosignatures under this key count. Repeat it"
    " for further witnesses.": (
        "証人が公表している名前と鍵。この鍵による連署だけを数えます。証人が複数なら繰り返します。"
    ),
    "How many of the known witnesses must have cosigned. [default: all]": (
        "鍵のわかる証人のうち、連署が必要な数。 ［省略時：全員］"
    ),
    "A checkpoint of the site that came by another way (wg-server checkpoint, or a witness): this log"
    " must extend it.": (
        "別の経路で得た拠点のチェックポイント（wg-server checkpoint、または証人から）。台帳はその続きでなければなりません。"
    ),
    "Refuse if the newest cosignature by known witnesses is older, such as 7d or 12h.": (
        "鍵のわかる証人の最新の連署がこれより古ければ不合格にします（例：7d、12h）。"
    ),
    "The folder that wg-server export wrote: keys, checkpoints, received files and earlier logs of the"
    " site, by the server's word.": (
        "wg-server export が書いたフォルダー。鍵、チェックポイント、受け取ったファイル、拠点の以前の台帳（サーバーの言明）。"
    ),
    "A file that the server received (.wgs, .wgq, .wgc), or a folder of them: each must be covered, and"
    " be what its charge says.": (
        "サーバーが受け取ったファイル（.wgs、.wgq、.wgc）、またはそのフォルダー。それぞれが台帳にあり、計上どおりでなければなりません。"
    ),
    "The log that this one replaced: its spend must be inherited. Repeat it for the one before that.": (
        "この台帳の前の台帳。その使用量が引き継がれていなければなりません。さらに前があれば繰り返します。"
    ),
}
HELP: Mapping[str, str] = {**_SHARED, **_COMMANDS, **_OPTIONS}
