"""Templates of pages: one look and one way to say numbers, whatever a page is about."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from maskwright.report import formatting


def template(name: str, *, folder: Path | None = None) -> Template:
    """A template of this folder or of ``folder``, which may extend ``base.html.j2``.

    What it is given is text, never markup; a name that it was not given is an error.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here] if folder is None else [folder, here]),
        autoescape=True,  # class and file names are strangers' text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": formatting.score, "count": formatting.count, "duration": formatting.duration}
    environment.globals |= {"plural": formatting.plural, "NOTHING": formatting.NOTHING}
    return environment.get_template(name)
