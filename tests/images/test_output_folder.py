import pytest

from maskwright.images.output_folder import OutputExists, OutputNotEmpty, check_output_folder


def check(folder, *, overwrite=False):
    check_output_folder(
        folder, kind="a run", is_kind=lambda path: (path / "recipe.yaml").is_file(), overwrite=overwrite
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_missing_folder_and_one_with_hidden_files_only_may_be_used(tmp_path, overwrite):
    check(tmp_path / "missing", overwrite=overwrite)
    (tmp_path / ".lock").touch()
    check(tmp_path, overwrite=overwrite)


def test_earlier_results_are_replaced_only_with_overwrite(tmp_path):
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(OutputExists, match="contains a run; add --overwrite"):
        check(tmp_path)
    check(tmp_path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_and_a_file_are_never_replaced(tmp_path, overwrite):
    for name in "gfedcba":
        (tmp_path / name).touch()
    with pytest.raises(OutputNotEmpty, match=r"has a, b, c, d, e\)"):
        check(tmp_path, overwrite=overwrite)
    with pytest.raises(OutputNotEmpty, match="a file of that name"):
        check(tmp_path / "a", overwrite=overwrite)
