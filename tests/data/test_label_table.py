"""Label tables are parsed from a line, a file or a mapping, and mistakes are reported."""

import json

import pytest

from maskwright.data.label_table import WrongLabelTable
from maskwright.data.mask_values import parse_mask_values


@pytest.mark.parametrize(
    ("line", "table"),
    [
        (" 255 = cell wall , 0=Background,7=IGNORED", {255: "cell wall", 0: "background", 7: "ignored"}),
        ("-1=ignored,0=background,+2=Lake", {-1: "ignored", 0: "background", 2: "Lake"}),
        ("#80000A=house,#000000=background", {"#80000a": "house", "#000000": "background"}),
    ],
)
def test_a_line_is_normalised_in_its_order(line, table):
    assert list(parse_mask_values(line).classes_by_value.items()) == list(table.items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.yaml", "0: background\n255: membrane\n"),
        ("t.yaml", "'0': background\n'255': membrane\n"),
        ("t.json", json.dumps({"0": "background", "255": "membrane"})),
    ],
)
def test_files_are_equivalent_to_a_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    expected = parse_mask_values("0=background,255=membrane")
    assert parse_mask_values(tmp_path / name) == expected
    assert parse_mask_values(str(tmp_path / name)) == expected


def test_a_mapping_is_read():
    assert parse_mask_values({"0": "background", 5: "cell"}).classes_by_value == {0: "background", 5: "cell"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("0=background,255", r"0=background,255: found '255'; expected comma-separated value=name pairs\."),
        ("0=background,0=cell", r"found the value 0 twice; expected each value once"),
        ("0=background,00=cell", r"found the value 0 twice; expected each value once"),
        ("0=background,#ff0000=cell", r"found both numbers and colours"),
        (
            "0=background,#ff=cell",
            r"found the mask value '#ff'; expected an integer or a colour such as '#800000'",
        ),
        ("0=background,1.5=cell", r"found the mask value '1\.5'"),
        ("0=background,1=", r"found the name ''; expected a class name without comma or equals sign, background or"),
        ("0=background,1=a=b", r"found the name 'a=b'"),
        ("0=background,1=ignored", r"found 1 classes, including background; expected 2 to 254\."),
        (",".join(f"{value}=class_{value}" for value in range(255)), r"found 255 classes"),
        ({True: "cell", 0: "background"}, r"mask values: found the mask value 'True'"),
        (
            {0: "background", 1: True},
            r"found the name True; .*\. In YAML, quote names such as yes, no, on and off",
        ),
        ({0: "background", 1: 3}, r"found the name 3; expected"),
        ({0: "background", 1: "a\nb"}, r"found the name 'a\\nb'; expected"),
        ({}, r"found 0 classes"),
    ],
)
def test_mistakes_are_reported(given, text):
    with pytest.raises(WrongLabelTable, match=text):
        parse_mask_values(given)


def test_254_labels_and_an_ignored_value_are_allowed():
    table = {value: f"class_{value}" for value in range(254)}
    assert len(parse_mask_values({**table, 254: "ignored"}).labels) == 254


def test_a_missing_file_shows_both_formats(tmp_path):
    with pytest.raises(
        WrongLabelTable, match=r"mask\.yaml: found no such file; expected an existing file, or value=name"
    ):
        parse_mask_values(tmp_path / "mask.yaml")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"#800000: house\n", r"found no mapping; .* In YAML, quote colours: an unquoted # starts a comment\."),
        (b"- background\n- cell\n", r"found no mapping; expected lines such as 0: background"),
        (b"0: [background\n", r"found a file that cannot be read .*; expected YAML or JSON"),
        (b"\xff\xfe\x00", r"found a file that cannot be read"),
    ],
)
def test_a_file_without_a_table_is_an_error(tmp_path, content, text):
    (tmp_path / "t.yaml").write_bytes(content)
    with pytest.raises(WrongLabelTable, match=r"t\.yaml: " + text):
        parse_mask_values(tmp_path / "t.yaml")


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(WrongLabelTable, match=r"found a file that cannot be read"):
        parse_mask_values(tmp_path)
