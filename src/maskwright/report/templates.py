"""Load page templates with the common style and the common number formats."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from maskwright.report import formatting


def template(name: str, *, folder: Path | None = None) -> Template:
    """Load a page template, which may extend ``base.html.j2``.

    Values are escaped as text, and an undefined name in the template is an error.

    Args:
        name: File name of the template.
        folder: Folder that is searched for the template before the folder of this module.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here] if folder is None else [folder, here]),
        autoescape=True,  # names of classes and files are untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": formatting.score, "count": formatting.count, "duration": formatting.duration}
    environment.globals |= {"plural": formatting.plural, "MISSING": formatting.MISSING}
    return environment.get_template(name)
