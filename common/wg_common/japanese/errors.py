"""Errors of all commands, by their shape (docs/decisions/0197); English shape -> Japanese template."""

from __future__ import annotations

from collections.abc import Mapping

_FILES = {
    "cannot be read: {why}": "読み込めません：{why}",
    "No such file or directory": "ありません",
    "Is a directory": "ファイルではなくフォルダーです",
    "Permission denied": "権限がありません",
}
_AUDIT = {
    "the server knows no site {site}": "サーバーは拠点 {site} を知りません",
    "the server never saw log {log} of site {site}; it saw {seen}": (
        "サーバーは拠点 {site} の台帳 {log} を見ていません。見たのは {seen} です"
    ),
    "covers {entries} entries, the log given has {size}: this copy is older than the checkpoint": (
        "{entries} 件を対象としますが、渡された台帳は {size} 件です。この写しはチェックポイントより古いものです"
    ),
    "signed neither by the log's key nor by a witness that is known by key": (
        "台帳の鍵でも、鍵のわかる証人でも署名されていません"
    ),
    "has another root than the first {entries} entries of the log given: two stories were told": (
        "渡された台帳の最初の {entries} 件とルートが違います。二通りの台帳があります"
    ),
    "no key of a witness is known, so no time can be believed": (
        "証人の鍵がわからないため、どの時刻も信用できません"
    ),
    "the newest cosignature by {needed} of {witnesses} known witnesses is {age} s old, at most {most} s"
    " are accepted": (
        "鍵のわかる証人 {witnesses} 者のうち {needed} 者による最新の連署は {age} 秒前のものです。"
        "認められるのは {most} 秒までです"
    ),
}
ERRORS: Mapping[str, str] = {**_FILES, **_AUDIT}
