"""Calls that are wrong: what click says of them, and our own types of options; shape -> Japanese.

Told by their shape, as all errors are (docs/decisions/0197).
"""

from __future__ import annotations

from collections.abc import Mapping

WRONG_CALLS: Mapping[str, str] = {
    "No such command {name}.": "コマンド {name} はありません。",
    "No such option {name}.": "オプション {name} はありません。",
    "{wrong} Did you mean {name}?": "{wrong}{name} ではありませんか。",
    "{wrong} (Did you mean one of: {names}?)": "{wrong}次のどれかではありませんか：{names}",
    "Missing command.": "コマンドがありません。",
    "Missing option {name}.": "オプション {name} を指定してください。",
    "Missing argument {name}.": "引数 {name} を指定してください。",
    "Option {name} requires an argument.": "オプション {name} には値が必要です。",
    "Option {name} does not take a value.": "オプション {name} に値は付けられません。",
    "Got unexpected extra argument ({words})": "余分な引数があります：{words}",
    "Got unexpected extra arguments ({words})": "余分な引数があります：{words}",
    "Invalid value for {where}: {why}": "{where} の値が正しくありません：{why}",
    "{value} is not one of {choices}.": "{value} は選べません。次のどれかにしてください：{choices}",
    "{value} is not a valid integer.": "{value} は整数ではありません。",
    "{value} is not a valid integer range.": "{value} は整数ではありません。",
    "{value} is not a valid float.": "{value} は数値ではありません。",
    "{value} is not a valid float range.": "{value} は数値ではありません。",
    "{value} is not in the range {range}.": "{value} は範囲 {range} の外です。",
    "File {name} is a directory.": "{name} はファイルではなくフォルダーです。",
    "Directory {name} is a file.": "{name} はフォルダーではなくファイルです。",
    "{kind} {name} is not readable.": "{name} を読む権限がありません。",
    "a folder, expected a file to write": "フォルダーです。書き込むファイルの名前を指定してください",
    "the folder {folder} is not there; make it first": (
        "フォルダー {folder} がありません。先に作ってください"
    ),
    "no file can have this name: {why}": "この名前のファイルは作れません：{why}",
    "the folder {folder} cannot be written": "フォルダー {folder} に書き込めません",
    "{value}, expected {want}, such as 1e-5": "{value} です。{want}にしてください（例：1e-5）",
    "{value}, expected {want}": "{value} です。{want}にしてください",
    "a decimal number above 0": "0 より大きい十進数",
    "a decimal number above 0 and below 1": "0 より大きく 1 より小さい十進数",
}
