# SPDX-License-Identifier: MIT
"""The tables of log records in the source: which kinds there are, and which fields each has."""
import pathlib
import re

TREE = pathlib.Path(__file__).resolve().parents[2]

# what any record may have
ALWAYS = {"MESSAGE", "PRIORITY", "MESSAGE_ID", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY"}
ANY = {"USHER_DELAY_MS", "CODE_FILE", "CODE_LINE", "CODE_FUNC"}


class Kind:
    """A line of log_kinds.def."""

    def __init__(self, name, message_id, fields, meaning):
        self.name, self.message_id, self.meaning = name, message_id, meaning
        self.required = {field for field in fields.split() if field[0] != "["}
        self.optional = {field.strip("[]") for field in fields.split() if field[0] == "["}


def arguments(path, macro):
    """What each call of this macro in a .def file is given: strings, adjacent ones joined."""
    text = re.sub(r"/\*.*?\*/", "", (TREE / path).read_text(encoding="utf-8"), flags=re.S)
    string = r'"(?:[^"\\]|\\.)*"'
    for call in re.findall(rf"^{macro}\(((?:{string}|[^()\"])*)\)", text, flags=re.M):
        given = re.findall(rf"(?:{string}\s*)+|[^\s,\"]+", call)
        yield ["".join(part[1:-1].replace('\\"', '"') for part in re.findall(string, one)) or one.replace('""', "") for one in given]


def log_kinds():
    return [Kind(*given) for given in arguments("src/report/log_kinds.def", "LOG_KIND")]


def log_fields():
    return [name for name, _ in arguments("src/report/log_fields.def", "LOG_FIELD")]


KINDS = {kind.message_id: kind for kind in log_kinds()}


def check(record):
    """Holds a record of the journal against the tables."""
    kind = KINDS[record["MESSAGE_ID"]]
    fields = set(record) - ALWAYS
    assert ALWAYS <= set(record), record
    assert kind.required <= fields, (kind.name, "lacks", kind.required - fields, record)
    assert fields <= kind.required | kind.optional | ANY, (kind.name, "may not have", fields - kind.required - kind.optional - ANY, record)
