"""The words of the console's pages, in each language.

One table, with the languages side by side, so that none can be missing. Sentences on where a site
stands are in ``wg_server.campaigns.wording``. A text is plain, never markup: pages escape it.
"""

from __future__ import annotations

from collections.abc import Mapping

from wg_server.campaigns.wording import LANGUAGES, Speaker
from wg_server.console import japanese

TEXTS: Mapping[str, tuple[str, str]] = {
    # Frame.
    "console": ("Console", "管理画面"),
    "skip": ("Skip to content", "本文へ移動"),
    "pages": ("Pages", "ページ"),
    "overview": ("Overview", "概要"),
    "sites": ("Sites", "拠点"),
    "campaigns": ("Campaigns", "キャンペーン"),
    "generator": ("Generator and zoo", "生成器と動物園"),
    "audit": ("Audit", "監査"),
    "help": ("Help", "ヘルプ"),
    "help of page": ("Help for this page", "このページのヘルプ"),
    "log out": ("Log out", "ログアウト"),
    "as of": ("As of", "時点："),
    "never": ("never", "なし"),
    "none": ("none", "なし"),
    "more": ("Older", "過去の記録"),
    "newest": ("Newest", "最新へ"),
    "ago": ("{span} ago", "{span}前"),
    "in time": ("in {span}", "あと {span}"),
    "over": ("over", "終了"),
    # Login.
    "login": ("Log in", "ログイン"),
    "token": ("Operator token", "運用者トークン"),
    "token hint": (
        "wg-server operators add NAME prints it, on the server.",
        "サーバーで wg-server operators add NAME を実行すると表示されます。",
    ),
    "login wrong": ("This token lets nobody in.", "このトークンではログインできません。"),
    "login often": ("Too many tries: wait a minute.", "試行が多すぎます。1 分待ってください。"),
    # Errors.
    "error": ("That did not work", "実行できませんでした"),
    "error 400": ("The request could not be read.", "要求を読み取れませんでした。"),
    "error 403": (
        "This form is not from this session, so nothing was changed. Load the page again.",
        "このフォームは現在のセッションのものではないため、何も変更していません。"
        "ページを読み込み直してください。",
    ),
    "error 404": ("There is no such page.", "このページはありません。"),
    "error 409": ("Nothing was changed:", "何も変更していません："),
    "error 503": (
        "The database or the disk cannot be used now. Try again in a moment.",
        "データベースまたはディスクが使えません。しばらくしてからお試しください。",
    ),
    # Overview.
    "needs a hand": ("Needs a hand", "対応が必要"),
    "all well": ("Nothing needs a hand.", "対応が必要な項目はありません。"),
    "bad": ("urgent", "緊急"),
    "warn": ("soon", "注意"),
    "enrolled": ("Sites enrolled", "登録拠点"),
    "online": ("Online now", "接続中"),
    "running": ("Campaigns under way", "実施中のキャンペーン"),
    "releases": ("Releases", "公開統計"),
    "disk": ("Disk free", "ディスク空き"),
    "backup": ("Last backup", "前回のバックアップ"),
    "alert probe worker": (
        "The campaign worker does not answer: restart the server.",
        "キャンペーン処理が応答しません。サーバーを再起動してください。",
    ),
    "alert probe database": ("The database does not answer.", "データベースが応答しません。"),
    "alert probe disk": (
        "The disk is nearly full: free some room.",
        "ディスクの空きが不足しています。",
    ),
    "alert probe certificate": (
        "A certificate of this server is not good: wg-server renew.",
        "サーバーの証明書が無効です：wg-server renew",
    ),
    "alert certificate server": (
        "The server's certificate ends in {span}: wg-server renew.",
        "サーバー証明書の期限まであと {span}です：wg-server renew",
    ),
    "alert certificate authority": (
        "The authority's certificate ends in {span}: wg-server rotate-authority.",
        "認証局の証明書の期限まであと {span}です：wg-server rotate-authority",
    ),
    "alert no backup": (
        "No backup was made: wg-server backup.",
        "バックアップがありません：wg-server backup",
    ),
    "alert backup": (
        "The last backup is {span} old: wg-server backup.",
        "前回のバックアップは {span}前です：wg-server backup",
    ),
    "alert generator": (
        "The generator's model card fails, and it is not accepted: no weights are made.",
        "生成器のモデルカードが不合格で、承認もされていないため、重みを作れません。",
    ),
    "alert no generator": (
        "There is no generator yet: wg-server train.",
        "生成器がまだありません：wg-server train",
    ),
    "alert no zoo": (
        "There is no zoo yet, so no plant can enrol: wg-server zoo build.",
        "動物園がないため、拠点を登録できません：wg-server zoo build",
    ),
    "alert fork": (
        "{site}: evidence that its ledger has two stories. Do not enrol it again before an auditor"
        " has seen it.",
        "{site}：台帳が二重になっている証拠があります。監査が済むまで再登録しないでください。",
    ),
    "alert budget": (
        "{site}: budget unknown, since an earlier ledger of it is not named.",
        "{site}：以前の台帳が引き継がれておらず、予算が不明です。",
    ),
    "alert quarantine": (
        "{site}: {n} in quarantine, which wait for your word.",
        "{site}：隔離中の公開統計が {n} 件あり、判断を待っています。",
    ),
    "alert away": ("{site}: {why}; {do}", "{site}：{why}。{do}"),
    "alert ends": (
        "{site}: its certificate ends in {span}, and was not renewed.",
        "{site}：証明書が更新されておらず、期限まであと {span}です。",
    ),
    "alert parts": (
        "Campaign {purpose}: {n} {state}.",
        "キャンペーン {purpose}：{state} {n} 件",
    ),
    # Sites.
    "site": ("Site", "拠点"),
    "state": ("State", "状態"),
    "site invited": ("invited", "招待済み"),
    "site enrolled": ("enrolled", "登録済み"),
    "site revoked": ("revoked", "失効"),
    "is online": ("online", "接続中"),
    "is offline": ("offline", "切断"),
    "last seen": ("Last seen", "最終接続"),
    "certificate": ("Certificate", "証明書"),
    "budget": ("Budget spent", "予算の使用"),
    "budget of": ("ε {spent} of {cap}", "ε {spent} / {cap}"),
    "budget more": (
        "ε {spent} of {cap} at δ {delta}, {n} charges; as the newest release's ledger entry says",
        "δ {delta} で ε {spent} / {cap}、{n} 回の計上（最新の統計に付いた台帳の記載）",
    ),
    "no budget": ("no release yet", "統計なし"),
    "remarks": ("Remarks", "備考"),
    "forked": ("ledger fork", "台帳の分岐"),
    "budget unknown": ("budget unknown", "予算不明"),
    "in quarantine": ("{n} in quarantine", "隔離 {n} 件"),
    "find": ("Find a site", "拠点を検索"),
    "search": ("Search", "検索"),
    "no sites": ("No site matches.", "該当する拠点はありません。"),
    "sites shown": ("Sites {first} to {last} of {n}", "{n} 拠点中 {first}～{last}"),
    "next page": ("Next", "次へ"),
    "previous page": ("Previous", "前へ"),
    "ledger": ("Ledger", "台帳"),
    "history": ("History", "履歴"),
    "when": ("When", "日時"),
    "what": ("What", "内容"),
    "event ledger": ("enrolled with ledger {origin}", "台帳 {origin} で登録"),
    "event release": (
        "released at ε {epsilon}: {standing}",
        "統計を提出（ε {epsilon}）：{standing}",
    ),
    "event part": ("campaign {purpose}: {state}", "キャンペーン {purpose}：{state}"),
    "event operator": ("{operator}: {action}", "{operator}：{action}"),
    "no history": ("Nothing yet.", "まだありません。"),
    "revoke": ("Revoke this site", "拠点を失効"),
    "revoke why": (
        "It is shut out from its next request on. What it released stays. To let it in again, it"
        " needs a new token and new keys.",
        "次の通信から拒否されます。提出済みの統計は残ります。"
        "再び参加するには新しいトークンと鍵が必要です。",
    ),
    "revoke confirm": ("Type the site's name to confirm", "確認のため拠点名を入力"),
    "invite": ("Invite a site", "拠点を招待"),
    "invite name": ("Name (a DNS label)", "名前（DNS ラベル）"),
    "invite hours": ("Token is good for, hours", "トークンの有効時間（時間）"),
    "invite do": ("Make a join token", "参加トークンを作成"),
    "invite again": ("Let it enrol again with new keys", "新しい鍵での再登録を許可"),
    "invited": ("Join token of {site}", "{site} の参加トークン"),
    "invited why": (
        "It is shown once, and good once, until {when}. At the plant: wg-client init --join-file.",
        "表示は一度だけ、使用も一度だけです（{when} まで）。拠点で wg-client init --join-file"
        " に渡してください。",
    ),
    "quarantine": ("Releases in quarantine", "隔離中の公開統計"),
    "quarantine why": (
        "A release that cannot be what it says enters nobody's weights. An honest plant gets here"
        " less than once in a million releases: ask it first.",
        "矛盾のある統計はどの重みにも使われません。正常な拠点で起きる確率は 100 万件に 1 件"
        "未満です。先に拠点に確認してください。",
    ),
    "accept": ("Accept", "承認"),
    "reject": ("Reject", "却下"),
    # Campaigns.
    "new campaign": ("Start a campaign", "キャンペーンを開始"),
    "no campaigns": ("No campaign yet.", "キャンペーンはまだありません。"),
    "purpose": ("Purpose", "目的"),
    "purpose hint": ("Goes on every ledger.", "各拠点の台帳に記録されます。"),
    "progress": ("Progress", "進み具合"),
    "created": ("Created", "作成"),
    "started": ("Started", "開始"),
    "finished": ("Finished", "終了"),
    "deadline": ("Deadline", "期限"),
    "why": ("Why", "理由"),
    "do": ("What to do", "対応"),
    "epsilon": ("Epsilon of each site", "拠点ごとの epsilon"),
    "delta": ("Delta of each site", "拠点ごとの delta"),
    "collect hours": ("Hours to answer", "回答の期限（時間）"),
    "deliver hours": ("Hours to fetch", "受け取りの期限（時間）"),
    "min sites": ("Releases to wait for", "待つ統計の数"),
    "min sites hint": ("2, or as many as there are, if empty.", "空欄なら 2（または拠点数）。"),
    "grace minutes": ("Minutes to wait for the rest", "猶予（分）"),
    "which sites": ("Sites", "拠点"),
    "which sites hint": (
        "All that are enrolled, if none is marked.",
        "未選択なら登録済みの全拠点。",
    ),
    "start": ("Start", "開始"),
    "start why": (
        "Each site that answers is charged the epsilon on its own ledger, for good.",
        "回答した拠点の台帳に epsilon が計上され、取り消せません。",
    ),
    "pause": ("Pause", "一時停止"),
    "resume": ("Resume", "再開"),
    "cancel": ("Cancel", "中止"),
    "cancel why": (
        "Nobody is asked or served any more. What sites released stays released and charged.",
        "以後の依頼と配布を止めます。提出済みの統計と計上は残ります。",
    ),
    "cancel sure": ("Cancel this campaign", "このキャンペーンを中止"),
    "retry": ("Retry", "再試行"),
    "quality": ("How good the packages are", "パッケージの正解率"),
    "no quality": ("No site has answered yet.", "まだ回答した拠点がありません。"),
    "candidate": ("Candidate", "候補"),
    "right": ("Right", "正解率"),
    "of records": ("Of", "対象"),
    "about campaign": ("Packages of", "対象のキャンペーン"),
    "retry of": ("Retry {site}", "{site} を再試行"),
    "parts of": ("Sites by state: {states}", "状態別の拠点数：{states}"),
    "terms": ("Terms", "条件"),
    "campaign queued": ("queued", "待機中"),
    "campaign running": ("running", "実施中"),
    "campaign paused": ("paused", "一時停止"),
    "campaign cancelling": ("being cancelled", "中止処理中"),
    "campaign cancelled": ("cancelled", "中止"),
    "campaign done": ("done", "完了"),
    "campaign partial": ("partial", "一部完了"),
    "campaign failed": ("failed", "失敗"),
    "part waiting": ("waiting", "回答待ち"),
    "part released": ("released", "提出済み"),
    "part packaged": ("packaged", "作成済み"),
    "part delivered": ("delivered", "配布済み"),
    "part answered": ("answered", "回答済み"),
    "part refused": ("refused", "拒否"),
    "part failed": ("failed", "失敗"),
    "part expired": ("expired", "期限切れ"),
    "part cancelled": ("cancelled", "中止"),
    "standing untested": ("not tested yet", "未検査"),
    "standing plausible": ("used", "使用"),
    "standing quarantined": ("in quarantine", "隔離中"),
    "standing accepted": ("accepted", "承認済み"),
    "standing rejected": ("rejected", "却下"),
    # Generator and zoo.
    "card": ("Model card", "モデルカード"),
    "card heads": ("Heads", "ヘッド"),
    "card networks": ("Whole networks", "ネットワーク全体"),
    "passes": ("passes", "合格"),
    "fails": ("fails", "不合格"),
    "accepted": ("accepted by an operator", "運用者が承認済み"),
    "no card": ("There is no model card.", "モデルカードがありません。"),
    "no generator": (
        "There is no generator yet: wg-server train.",
        "生成器がありません：wg-server train",
    ),
    "check": ("Check", "検査"),
    "value": ("Value", "値"),
    "required": ("Required", "基準"),
    "scenario": ("Scenario (families never seen)", "状況（未知のファミリー）"),
    "generated": ("Generated", "生成"),
    "best other": ("Best other", "他の最良"),
    "other method": ("Its name", "その方法"),
    "loses": ("Where it loses", "劣る点"),
    "alarms": ("Alarms", "警報"),
    "accept card": ("Use it although its card fails", "不合格でも使用する"),
    "accept why": (
        "Weights that plants get may be worse than what they have; their own selection guards"
        " them. The log keeps your name. Type the first 16 digits of the id to confirm.",
        "配布される重みが拠点の現状より劣るおそれがあります（拠点側の選択で防がれます）。"
        "承認者の名前が記録されます。確認のため ID の先頭 16 桁を入力してください。",
    ),
    "identity": ("Id", "ID"),
    "trained": ("Training", "学習"),
    "steps": ("{n} steps in {span}", "{n} ステップ、{span}"),
    "work train": ("Training of the generator", "生成器の学習"),
    "work zoo build": ("Building of the zoo", "動物園の作成"),
    "work running": ("{done} of {of}: {words}", "{done} / {of}：{words}"),
    "work silent": ("said nothing for {span}", "{span}応答がありません"),
    "work failed": ("it ended with an error", "エラーで終了しました"),
    "zoo": ("Zoo", "動物園"),
    "zoo figures": (
        "{entries} entries of {families} families, {records} records; plants gave {contributed}",
        "{entries} 件（{families} ファミリー、{records} レコード）。"
        "うち拠点からの提供 {contributed} 件",
    ),
    "zoo more": (
        "wg-server zoo report measures how diverse it is, and what is missing.",
        "多様性と不足は wg-server zoo report で調べられます。",
    ),
    "no zoo": (
        "There is no zoo yet: wg-server zoo build.",
        "動物園がありません：wg-server zoo build",
    ),
    "family": ("Family", "ファミリー"),
    "entries": ("Entries", "件数"),
    "records": ("Records", "レコード"),
    "accuracy": ("Accuracy", "正解率"),
    "licence": ("Licence", "ライセンス"),
    # Audit.
    "who": ("Who", "運用者"),
    "through console": ("console", "管理画面"),
    "through command": ("command line", "コマンド"),
    "subject": ("What about", "対象"),
    "detail": ("Detail", "詳細"),
    "no entries": ("No operator did anything yet.", "まだ記録はありません。"),
    "log whole": (
        "Each entry follows from those before it. Newest: {digest}",
        "すべての記録が前の記録とつながっています。最新：{digest}",
    ),
    "log broken": (
        "Entry {n} was changed, or one before it is missing.",
        "{n} 番の記録が変更されたか、その前が欠けています。",
    ),
    "act enroll": ("made a join token", "参加トークンを作成"),
    "act revoke": ("revoked", "失効"),
    "act accept": ("accepted a failing generator", "不合格の生成器を承認"),
    "act release accept": ("accepted a release", "統計を承認"),
    "act release reject": ("rejected a release", "統計を却下"),
    "act campaign start": ("started a campaign", "キャンペーンを開始"),
    "act campaign pause": ("paused a campaign", "キャンペーンを一時停止"),
    "act campaign resume": ("resumed a campaign", "キャンペーンを再開"),
    "act campaign cancel": ("cancelled a campaign", "キャンペーンを中止"),
    "act campaign quality": ("asked how good packages are", "パッケージの正解率を照会"),
    "act campaign retry": ("tried a site again", "拠点を再試行"),
    "act rotate-keys": ("made new signing keys", "署名鍵を更新"),
    "act rotate-authority": ("made a new authority", "認証局を更新"),
    "act operator add": ("let an operator in", "運用者を追加"),
    "act operator remove": ("shut an operator out", "運用者を削除"),
    "act login": ("logged in", "ログイン"),
    "act failed": ("that failed", "失敗"),
    # Done.
    "did revoke": ("The site is revoked.", "拠点を失効しました。"),
    "did start": ("The campaign is queued.", "キャンペーンを登録しました。"),
    "did pause": ("The campaign is paused.", "キャンペーンを一時停止しました。"),
    "did resume": ("The campaign goes on.", "キャンペーンを再開しました。"),
    "did cancel": ("The campaign ends.", "キャンペーンを中止します。"),
    "did retry": ("The site is tried again.", "拠点を再試行します。"),
    "did accept": ("It is accepted.", "承認しました。"),
    "did reject": ("It is rejected.", "却下しました。"),
}


class Speech:
    """The words of pages in one language.

    Attributes:
        language: Its code.
        span: Says a span of time, given in seconds.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.span = Speaker(language).span
        self._index = LANGUAGES.index(language)

    def __call__(self, key: str, **figures: object) -> str:
        """One text, with its figures."""
        return TEXTS[key][self._index].format(**figures)

    def action(self, action: str) -> str:
        """What an operator did, as the log says it; the word itself where it has no text."""
        key = f"act {action}"
        return self(key) if key in TEXTS else action

    def error(self, english: str) -> str:
        """Why something failed, as far as its shape is known."""
        return english if self.language == LANGUAGES[0] else _JAPANESE.error(english)

    def detail(self, action: str, english: str) -> str:
        """What the log says beside an action."""
        if action != "failed" or self.language == LANGUAGES[0]:
            return self.error(english)
        tried, _, why = english.partition(": ")
        return f"{self.action(tried)}：{self.error(why)}"


_JAPANESE = japanese.speaker(
    {
        state: texts[1]
        for key, texts in TEXTS.items()
        for stem, _, state in (key.partition(" "),)
        if state and stem in ("campaign", "part", "site", "standing")
    }
)


def chosen(wanted: str | None, accepted: str) -> str:
    """The language of a page.

    Args:
        wanted: What the reader chose once, if anything.
        accepted: The browser's ``Accept-Language``.
    """
    if wanted in LANGUAGES:
        return str(wanted)
    first = accepted.split(",")[0].strip().lower()
    return next((each for each in LANGUAGES if first.startswith(each)), LANGUAGES[0])
