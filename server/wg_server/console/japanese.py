"""Why an operator's action failed, and what the operators' log says beside it: shape -> Japanese.

Told by their shape, as plants' errors are (docs/decisions/0197): log and commands hold English.
"""

from __future__ import annotations

from collections.abc import Mapping

from wg_common.language import Catalogue, Language

DETAILS: Mapping[str, str] = {
    "again": "新しい鍵での再登録",
    "{purpose}: epsilon {epsilon}, delta {delta}: {whom}": (
        "{purpose}（epsilon {epsilon}、delta {delta}）：{whom}"
    ),
    "all enrolled sites": "登録済みの全拠点",
}
"""Of entries that say what was done."""

ERRORS: Mapping[str, str] = {
    # Campaigns.
    "unknown; see 'wg-server campaign list'": "ありません。wg-server campaign list で確認できます",
    "has no site {site}": "拠点 {site} は含まれていません",
    "no site is enrolled yet; run 'wg-server enroll --home {home} SITE'": (
        "登録済みの拠点がありません。wg-server enroll --home {home} 拠点名 を実行してください"
    ),
    "expected at least one site, and each once": "拠点を一つ以上、重複なく選んでください",
    "{wanted} of {count} sites to wait for": (
        "待つ統計の数が {wanted} です。1 から拠点数 {count} までにしてください"
    ),
    "not enrolled: {names}": "登録されていない拠点があります：{names}",
    "it is being cancelled": "中止処理中です",
    "{state}, expected paused": "一時停止中ではありません（{state}）",
    "{state}; start another one": "終わっています（{state}）。新しいキャンペーンを開始してください",
    "{site}: {state}, expected one of {states}": "{site} は再試行できる状態ではありません（{state}）",
    "{state} already": "すでに終わっています（{state}）",
    "{state}, expected enrolled": "登録済みの拠点ではありません（{state}）",
    "its release is {standing}; first run 'wg-server releases accept {release}', if that is right": (
        "統計が使われていません（{standing}）。正しければ先に wg-server releases accept {release}"
        " を実行してください"
    ),
    "{value}, expected a number above 0": "{value} です。0 より大きい数にしてください",
    "{value}, expected a number above 0, to {most}": (
        "{value} です。0 より大きく {most} 以下の数にしてください"
    ),
    "expected 1 to {most} printable characters": "1～{most} 文字の表示できる文字にしてください",
    "found {found}, expected a decimal number": "{found} です。十進数にしてください",
    "found {found}, expected a whole number of at most {most} digits": (
        "{found} です。{most} 桁以下の整数にしてください"
    ),
    # Sites, releases and operators.
    "unknown; see 'wg-server sites'": "ありません。wg-server sites で確認できます",
    "enrolled already; --replace lets it enrol again with new keys": (
        "すでに登録されています。新しい鍵での再登録を許可すれば招待できます"
    ),
    "expected 1 to 63 lower-case letters, digits and inner hyphens": (
        "1～63 文字の英小文字と数字、途中のハイフンだけが使えます"
    ),
    "no public encoder yet, and plants need it; run 'wg-server zoo build --home {home}'": (
        "拠点に必要なエンコーダーがまだありません。wg-server zoo build --home {home}"
        " を実行してください"
    ),
    "unknown; see 'wg-server releases list --all'": (
        "ありません。wg-server releases list --all で確認できます"
    ),
    "expected 1 to {most} lower-case hex digits": "1～{most} 桁の十六進数（小文字）にしてください",
    "unknown; see 'wg-server operators list'": "いません。wg-server operators list で確認できます",
    "{typed} was typed, expected {wanted}": "{typed} と入力されました。{wanted} を入力してください",
    # Generator and keys.
    "{given}, expected {least} to 64 hexadecimal digits of a generator's id": (
        "{given} です。生成器の ID の十六進数 {least}～64 桁にしてください"
    ),
    "not this home's; {folder} has {there}": "このホームの生成器ではありません。{folder} には {there} があります",
    "its model card fails: {checks}": "モデルカードが不合格です：{checks}",
    "{why}. Train on a larger zoo, or accept it by name: wg-server accept --home {home} {id},"
    " or --accept-generator {same} for one command": (
        "{why}。より大きな動物園で学習するか、wg-server accept --home {home} {id} で承認してください"
        "（一度だけなら --accept-generator {same}）"
    ),
    "still open; let it end or cancel it before new keys": (
        "まだ終わっていません。鍵の更新は、終わるか中止してから実行してください"
    ),
}


def speaker(words: Mapping[str, str]) -> Language:
    """Japanese for what the log says; ``words`` are states, as the store names them."""
    return Language("ja", Catalogue({}, {**words, **DETAILS, **ERRORS}))
