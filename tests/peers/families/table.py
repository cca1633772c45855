"""The tables of families as Markdown. Needs no package.

usage: table.py BUILD/peers/families.md docs/architectures.md     puts the tables of the first file in the place of those of the second
"""
import re
import sys

COLUMNS = ("self-merge", "linear", "stack", "mergekit")
TITLES = {"self-merge": "self-merge", "linear": "linear, loaded", "stack": "stack of two slices", "mergekit": "mergekit 0.1.4, linear"}
CELLS = {}  # what this run found: family name -> column -> text
SPELLINGS = {}  # family name -> what became of a merge of two spellings


def line(cells):
    return "| " + " | ".join(text.replace("|", "/") for text in cells) + " |"


def families_table(families):
    lines = [line(["family", "class", "kind", *TITLES.values()]), "|" + "---|" * (3 + len(COLUMNS))]
    for family in families:
        if family.name in CELLS:
            lines.append(line([family.name, family.model, family.kind, *(CELLS[family.name].get(column, "") for column in COLUMNS)]))
    return "\n".join(lines)


def spellings_table(order):
    lines = [line(["two spellings", "merged in either order"]), "|---|---|"]
    return "\n".join(lines + [line([name, SPELLINGS[name]]) for name in order if name in SPELLINGS])


def find(page, first_title):
    """The span of the table whose first column has this title."""
    found = re.search(rf"^\| {re.escape(first_title)} \|.*\n(\|.*\n?)*", page, re.MULTILINE)
    return found.span() if found else (0, 0)


def rows(page, first_title):
    """The cells of each row of a table."""
    begin, end = find(page, first_title)
    return [tuple(cell.strip() for cell in text.strip("|").split("|")) for text in page[begin:end].splitlines()[2:]]


def replace(page, source):
    for title in ("family", "two spellings"):
        begin, end = find(page, title)
        from_begin, from_end = find(source, title)
        if end and from_end:
            page = page[:begin] + source[from_begin:from_end].rstrip("\n") + "\n" + page[end:]
    return page


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as made, open(sys.argv[2], encoding="utf-8") as old:
        text = replace(old.read(), made.read())
    with open(sys.argv[2], "w", encoding="utf-8") as new:
        new.write(text)
