"""The sentences of ``reasons``, in each language: what is, why, and what a person can do about it.

One table, with the languages side by side, so that none can be missing. Commands are written as
they are typed. Words of plants (``wg_common.wire.fleet``) are in English there, and here in the
other languages.
"""

from __future__ import annotations

from collections.abc import Mapping

from wg_common.wire import fleet

LANGUAGES = ("en", "ja")  # Codes of ISO 639-1; the first is used unless another one is asked for

UNITS = (
    (86400, ("{n} day", "{n} days"), "{n} 日"),
    (3600, ("{n} hour", "{n} hours"), "{n} 時間"),
    (60, ("{n} minute", "{n} minutes"), "{n} 分"),
    (1, ("{n} second", "{n} seconds"), "{n} 秒"),
)
"""Seconds of each unit, largest first; one and many in English; Japanese."""

SENTENCES: Mapping[str, tuple[str, str]] = {
    "": ("", ""),
    # Of a campaign as a whole.
    "served": ("{n} of {of} sites have a package", "{of} 拠点中 {n} 拠点に配布済み"),
    "in": ("{n} of {of} sites have released", "{of} 拠点中 {n} 拠点が統計を提出"),
    "in, begin": (
        "{n} of {of} sites have released; packages in {span}",
        "{of} 拠点中 {n} 拠点が統計を提出。{span}後に重みを作成",
    ),
    "in, served": (
        "{n} of {of} sites have released, {served} have a package",
        "{of} 拠点中 {n} 拠点が統計を提出、{served} 拠点に配布済み",
    ),
    "counted of": (
        "{n} of {of} sites have said how good their package is",
        "{of} 拠点中 {n} 拠点がパッケージの正解率を報告",
    ),
    "and": ("{what}; {more}", "{what}。{more}"),
    "too few": (
        "{wanted} were wanted and {n} can still be: packages are made when no site is waited for"
        " any more",
        "{wanted} 拠点分を待つ設定ですが、届くのは最大 {n} 拠点分です。"
        "待つ拠点がなくなりしだい重みを作ります",
    ),
    "when enough": (
        "packages are made from {wanted} releases on",
        "統計が {wanted} 件そろうと重みを作ります",
    ),
    # Of quality reports.
    "quality of": (
        "how often delivered candidates name labelled records right; ± is one standard error of the"
        " noise",
        "配布した候補がラベル付きレコードを正しく判定した割合（± はノイズによる標準誤差 1 つ分）",
    ),
    "rate": ("{rate} % ± {error}", "{rate} % ± {error}"),
    "no rate": ("unknown: fewer labels than noise", "不明（ラベルがノイズに埋もれています）"),
    "labelled": ("about {n} labelled records (± {error})", "ラベル付き約 {n} 件（± {error}）"),
    "all sites": ("together, {n} sites", "合計（{n} 拠点）"),
    "conditioned": (
        "made with this site's own release: its labels had a part in these weights, and the figures"
        " are on the bright side",
        "この拠点自身の統計から作った重みです。ラベルの影響を受けているため、数値は高めに出ます",
    ),
    "not local": (
        "local figures are not known: plants finish and choose with their own labels, and say"
        " nothing of it",
        "拠点内での数値はわかりません（拠点は自分のラベルで仕上げと選択を行い、結果は送りません）",
    ),
    # Of a site's part that is open.
    "paused": ("the campaign is paused", "キャンペーンは一時停止中です"),
    "not begun": ("the campaign has not begun", "キャンペーンはまだ始まっていません"),
    "left": ("{what}; {span} left", "{what}（残り {span}）"),
    "offered": ("a package is there to be fetched", "重みの受け取りを待っています"),
    "better offered": (
        "a better package is there to be fetched",
        "改良パッケージの受け取りを待っています",
    ),
    "answered": ("asked {times}: {meaning}", "{times}依頼済み：{meaning}"),
    "asked": ("asked {span} ago, no answer yet", "{span}前に依頼し、まだ回答がありません"),
    "to ask": ("about to be asked", "まもなく依頼します"),
    "making in": ("packages are made in {span}", "{span}後に重みを作ります"),
    "making": ("its package is being made", "重みを作成中です"),
    "making better": ("a better package is being made", "改良パッケージを作成中です"),
    "once": ("once", "1 回"),
    "times": ("{n} times", "{n} 回"),
    # Of one that ended.
    "better failed": (
        "it has a package; a better one came to nothing: {said}",
        "配布済みです。改良パッケージは届きませんでした：{said}",
    ),
    "better in": (
        "it has a package; a better one is made in {span}",
        "配布済みです。{span}後に改良パッケージを作ります",
    ),
    "better now": (
        "it has a package; a better one is made now",
        "配布済みです。改良パッケージを作成します",
    ),
    "counted": ("its counts are here", "件数を受け取りました"),
    "cancelled": ("the campaign was cancelled", "キャンペーンは中止されました"),
    "left out": ("left out {span} ago: {why}", "{span}前に対象外になりました：{why}"),
    "left out now": ("left out now: {why}", "対象外になりました：{why}"),
    "error": ("error {code!r}", "エラー {code!r}"),
    # Why a site is not there.
    "certificate-expired": (
        "its certificate expired {span} ago",
        "証明書が {span}前に期限切れになりました",
    ),
    "clock ahead": (
        "the plant's clock is {n} s ahead of this server's",
        "拠点の時計がサーバーより {n} 秒進んでいます",
    ),
    "clock behind": (
        "the plant's clock is {n} s behind this server's",
        "拠点の時計がサーバーより {n} 秒遅れています",
    ),
    "node-key": (
        "its node key is not the one that it enrolled with",
        "ノード鍵が登録時のものと異なります",
    ),
    "never-connected": ("it never connected", "一度も接続していません"),
    "not-connected": (
        "not connected; last seen {span} ago",
        "接続していません（最終接続は {span}前）",
    ),
    "no-answer": ("no answer; first asked {span} ago", "回答がありません（最初の依頼は {span}前）"),
    "not-fetched": ("its package was not fetched in time", "期限までに重みを受け取りませんでした"),
    # Why a part ended, as this server says it.
    "why quarantined": (
        "its release cannot be what it says, and enters nobody's weights",
        "提出された統計に矛盾があり、どの重みにも使われません",
    ),
    "why implausible": (
        "its counts cannot be: below zero, or more right than labelled, beyond what noise does;"
        " they are kept, and in no figure",
        "件数に矛盾があります（ノイズで説明できない負の値や、ラベル数を超える正解数）。"
        "保存されますが、集計には使いません",
    ),
    "why revoked": ("the site was revoked meanwhile", "その間に拠点が失効しました"),
    "site revoked": ("the site is revoked", "拠点は失効しています"),
    "why tries": (
        "it was asked again and again, and never answered",
        "繰り返し依頼しましたが、回答がありませんでした",
    ),
    "why verification": (
        "its answer, or its package, does not hold",
        "回答または重みの検証に失敗しました",
    ),
    "why decode": ("its answer cannot be read", "回答を読み取れません"),
    "why internal": ("an error of this server's", "サーバー側のエラーです"),
    "why config": (
        "its package is not where it was put, or there is no generator",
        "重みのファイルがないか、生成器がありません",
    ),
    # What to do.
    "do resume": ("wg-server campaign resume", "再開してください：wg-server campaign resume"),
    "do serve": (
        "nothing while 'wg-server serve' runs; else start it",
        "wg-server serve が動いていれば何も要りません。動いていなければ起動してください",
    ),
    "do log": (
        "see the server's log for this site",
        "サーバーのログでこの拠点を確認してください",
    ),
    "do, retry": (
        "{do}; then wg-server campaign retry",
        "{do}。その後 wg-server campaign retry で再試行",
    ),
    "do certificate-expired": (
        "wg-server enroll --replace, then wg-client init --replace at the plant",
        "wg-server enroll --replace、次に拠点で wg-client init --replace",
    ),
    "do clock": ("set the plant's clock by NTP", "拠点の時計を NTP で合わせてください"),
    "do node-key": (
        "one home per plant: stop the copy, or enroll --replace",
        "ホームフォルダーは拠点ごとに 1 つです。複製を止めるか、enroll --replace で"
        "登録し直してください",
    ),
    "do start": (
        "start 'wg-client run' at the plant, and see that it reaches the fleet port",
        "拠点で wg-client run を起動し、フリート用ポートに届くことを確認してください",
    ),
    "do no-answer": (
        "ask the plant's engineer for its log",
        "拠点の担当者にログを確認してもらってください",
    ),
    "do not-fetched": (
        "ask the plant's engineer for its log, its line and room on its disk",
        "拠点の担当者にログ、回線、ディスクの空きを確認してもらってください",
    ),
    "do quarantined": (
        "wg-server releases list names why; accept it, if that is right",
        "理由は wg-server releases list に出ます。問題なければ承認してください",
    ),
    "do revoked": (
        "wg-server enroll lets it in with new keys",
        "wg-server enroll で新しい鍵により再登録できます",
    ),
    "do budget": (
        "the plant's owner decides on its budget: ask for less, or leave the site out",
        "予算は拠点の所有者が決めます。要求を小さくするか、この拠点を外してください",
    ),
    "do implausible": (
        "ask the plant; an auditor can hold its report against its ledger (wg-server export)",
        "拠点に確認してください。監査人は報告を台帳と照合できます（wg-server export）",
    ),
    "do policy": (
        "the plant's client.yaml says what it answers: agree on epsilon, delta and purpose",
        "回答の条件は拠点の client.yaml にあります。epsilon、delta、目的を取り決めてください",
    ),
    "do approval": (
        "ask the plant's owner: 'wg-client requests list' shows what waits there",
        "拠点の所有者に確認してください。保留中の依頼は wg-client requests list で見られます",
    ),
    "do peer": ("see the line between plant and server", "拠点とサーバーの回線を確認してください"),
    "do witness": (
        "wg-client witnesses at the plant names who is missing",
        "足りない証人は、拠点で wg-client witnesses を実行するとわかります",
    ),
    "do update": ("update the older side", "古い側を更新してください"),
    "do type": (
        "the plant's client.yaml lists the message types that it answers",
        "拠点の client.yaml に、回答する依頼の種類があります",
    ),
    "do too large": (
        "raise limits.max_package_bytes in the plant's client.yaml",
        "拠点の client.yaml の limits.max_package_bytes を上げてください",
    ),
}

_SAID_JA: Mapping[str, str] = {
    fleet.APPROVAL: "拠点で人の承認待ちです。期限まで繰り返し依頼します",
    fleet.UNAVAILABLE: "拠点の都合で回答できませんでした（理由は知らされません）。"
    "拠点のログに記録があり、再度の依頼で解決することがあります",
    "policy": "拠点のポリシーにより、この依頼は許可されていません",
    "budget": "拠点のプライバシー予算が足りません",
    "peer": "処理中に拠点がこのサーバーに接続できませんでした",
    "witness": "拠点の台帳に、このサーバーまたは必要数の証人の連署がありません",
    "verification": "届いた内容が提示されたものと異なるか、別の拠点宛てです",
    fleet.APP_MISMATCH: "サーバーと拠点で weightgate の版が異なります。古い側を更新してください",
    fleet.TYPE_DENIED: "拠点はこの種類の依頼に回答しません",
    fleet.TOO_LARGE: "拠点が受け入れる大きさを超えています",
    fleet.MALFORMED: "この版の通信として読めないか、壊れています",
}


class Speaker:
    """Says the sentences in one language."""

    def __init__(self, language: str) -> None:
        self._index = LANGUAGES.index(language)

    def __call__(self, key: str, **figures: object) -> str:
        """One sentence, with its figures."""
        return SENTENCES[key][self._index].format(**figures)

    def of_plant(self, code: str) -> str | None:
        """What a plant's word means, if it is one."""
        english = fleet.REFUSALS.get(code) or fleet.MEANING.get(code)
        return _SAID_JA[code] if english and self._index else english

    def span(self, seconds: float) -> str:
        """A span of time in its largest unit, such as ``2 days``; a second at least."""
        number, (one, many), other = 1, UNITS[-1][1], UNITS[-1][2]
        for size, english, japanese in UNITS:
            if seconds >= size:
                number, (one, many), other = int(seconds // size), english, japanese
                break
        return (other if self._index else one if number == 1 else many).format(n=number)

    def times(self, count: int) -> str:
        """How often: ``once``, ``3 times``."""
        return self("once") if count == 1 else self("times", n=count)
