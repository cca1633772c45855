"""The table of families as Markdown; read back by tests/cli/architectures_doc_test.py. Needs no package."""

COLUMNS = ("self-merge", "linear", "stack", "mergekit")
TITLES = {"self-merge": "self-merge", "linear": "linear, loaded", "stack": "stack of two slices", "mergekit": "mergekit 0.1.4, linear"}
CELLS = {}  # what this run found: family name -> column -> text
SPELLINGS = {}  # family name -> what became of a merge of two spellings


def markdown(families):
    lines = ["| family | class | kind | " + " | ".join(TITLES.values()) + " |", "|" + "---|" * (3 + len(COLUMNS))]
    for family in families:
        if family.name in CELLS:
            row = [family.name, family.model, family.kind, *(CELLS[family.name].get(column, "") for column in COLUMNS)]
            lines.append("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
    return "\n".join(lines)


def rows(markdown_text):
    """(family, class, kind, ...) of each row of the table in a page."""
    found, inside = [], False
    for line in markdown_text.splitlines():
        if line.startswith("| family | class |"):
            inside = True
        elif inside and not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            found.append(tuple(cell.strip() for cell in line.strip("|").split(" | ")))
    return found
