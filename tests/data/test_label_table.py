"""Tables of mask values as users write them: on a line, in a file, in a recipe."""

import json

import pytest

from maskwright.data.label_table import WrongMaskTable
from maskwright.data.mask_values import parse_mask_values


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (" 255 = cell wall , 0=Background,7=IGNORED", {255: "cell wall", 0: "background", 7: "ignored"}),
        ("-1=ignored,0=background,+2=Lake", {-1: "ignored", 0: "background", 2: "Lake"}),
        ("#80000A=house,#000000=background", {"#80000a": "house", "#000000": "background"}),
    ],
)
def test_a_line_keeps_its_order_and_is_cleaned(line, words):
    assert list(parse_mask_values(line).words.items()) == list(words.items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.yaml", "0: background\n255: membrane\n"),
        ("t.yaml", "'0': background\n'255': membrane\n"),
        ("t.json", json.dumps({"0": "background", "255": "membrane"})),
    ],
)
def test_files_say_the_same_as_a_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    expected = parse_mask_values("0=background,255=membrane")
    assert parse_mask_values(tmp_path / name) == expected
    assert parse_mask_values(str(tmp_path / name)) == expected


def test_a_mapping_of_a_recipe_is_read():
    assert parse_mask_values({"0": "background", 5: "cell"}).words == {0: "background", 5: "cell"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("0=background,255", r"0=background,255: found '255'; expected value=word, with commas between\."),
        ("0=background,0=cell", r"found 0 twice; expected one word for a value"),
        ("0=background,00=cell", r"found 0 twice; expected one word for a value"),
        ("0=background,#ff0000=cell", r"found numbers and colours; expected one kind of value"),
        (
            "0=background,#ff=cell",
            r"found the mask value '#ff'; expected a whole number, or a colour such as '#800000'",
        ),
        ("0=background,1.5=cell", r"found the mask value '1\.5'"),
        ("0=background,1=", r"found the word ''; expected a class name without comma or equals sign, background or"),
        ("0=background,1=a=b", r"found the word 'a=b'"),
        ("0=background,1=ignored", r"found 1 classes, background included; expected 2 to 254\."),
        (",".join(f"{value}=class_{value}" for value in range(255)), r"found 255 classes"),
        ({True: "cell", 0: "background"}, r"mask values: found the mask value 'True'"),
        (
            {0: "background", 1: True},
            r"found the word True; .*\. In YAML, put words such as yes, no, on and off in quotes",
        ),
        ({0: "background", 1: 3}, r"found the word 3; expected"),
        ({0: "background", 1: "a\nb"}, r"found the word 'a\\nb'; expected"),
        ({}, r"found 0 classes"),
    ],
)
def test_each_mistake_is_named(given, text):
    with pytest.raises(WrongMaskTable, match=text):
        parse_mask_values(given)


def test_254_labels_and_an_ignored_value_are_allowed():
    words = {value: f"class_{value}" for value in range(254)}
    assert len(parse_mask_values({**words, 254: "ignored"}).labels) == 254


def test_a_missing_file_or_a_slip_shows_both_ways(tmp_path):
    with pytest.raises(WrongMaskTable, match=r"mask\.yaml: found no file of that name; expected a file, or value=word"):
        parse_mask_values(tmp_path / "mask.yaml")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"#800000: house\n", r"found no table; .* In YAML, put colours in quotes: a bare # starts a comment\."),
        (b"- background\n- cell\n", r"found no table; expected lines such as 0: background"),
        (b"0: [background\n", r"found a file that cannot be read .*; expected YAML or JSON"),
        (b"\xff\xfe\x00", r"found a file that cannot be read"),
    ],
)
def test_a_file_without_a_table_is_named(tmp_path, content, text):
    (tmp_path / "t.yaml").write_bytes(content)
    with pytest.raises(WrongMaskTable, match=r"t\.yaml: " + text):
        parse_mask_values(tmp_path / "t.yaml")


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(WrongMaskTable, match=r"found a file that cannot be read"):
        parse_mask_values(tmp_path)
