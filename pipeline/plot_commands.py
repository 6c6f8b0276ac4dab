"""`cubecast plot`: maps, fans, skill, calibration and explanation of a published forecast as PNG or SVG files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import api
from pipeline.command_options import JsonObject, WorldName, example, one_of, read_instant, say
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.errors import ConfigError
from pipeline.settings import read_settings

if TYPE_CHECKING:
    from pipeline.publishing.page_inputs import PageInputs
    from pipeline.publishing.plots import Kind

plot_app = typer.Typer(help="Plots of a published forecast as files.", no_args_is_help=True)
To = Annotated[Path, typer.Option("--to", help="A file where there is nothing yet; .png or .svg.", metavar="FILE")]
IssueTime = Annotated[str | None, typer.Option("--issue-time", help="By default the newest one that was published.", metavar="TIME")]
DomainName = Annotated[str | None, typer.Option("--domain", "-d", help="By default the world's first that was forecast.")]
VariableName = Annotated[str | None, typer.Option("--variable", help="By default the domain's first.")]
NodeName = Annotated[str | None, typer.Option("--node", help="A place; by default the first one.")]
Lead = Annotated[int, typer.Option("--lead", help="The number of a step ahead, from 1.", min=1)]


@plot_app.command("maps", epilog=example("cubecast plot maps --world aarhus --domain traffic --to maps.png"))
def plot_maps(
    world: WorldName,
    to: To,
    domain: DomainName = None,
    variable: VariableName = None,
    issue_time: IssueTime = None,
    as_json: JsonObject = False,
) -> None:
    """The forecast median on the map, at leads spread over the horizon."""
    _plot("maps", world, to, domain, variable, issue_time, as_json=as_json)


@plot_app.command("fan", epilog=example("cubecast plot fan --world aarhus --domain traffic --node 158324 --to fan.svg"))
def plot_fan(
    world: WorldName,
    to: To,
    domain: DomainName = None,
    variable: VariableName = None,
    node: NodeName = None,
    issue_time: IssueTime = None,
    as_json: JsonObject = False,
) -> None:
    """One place: its past, the bands ahead, the medians issued before, and what came."""
    _plot("fan", world, to, domain, variable, issue_time, node=node, as_json=as_json)


@plot_app.command("skill", epilog=example("cubecast plot skill --world aarhus --domain traffic --to skill.png"))
def plot_skill(
    world: WorldName,
    to: To,
    domain: DomainName = None,
    variable: VariableName = None,
    issue_time: IssueTime = None,
    as_json: JsonObject = False,
) -> None:
    """Errors by lead of the model and its baselines on held-out days."""
    _plot("skill", world, to, domain, variable, issue_time, as_json=as_json)


@plot_app.command("calibration", epilog=example("cubecast plot calibration --world aarhus --domain traffic --to calibration.png"))
def plot_calibration(
    world: WorldName,
    to: To,
    domain: DomainName = None,
    variable: VariableName = None,
    issue_time: IssueTime = None,
    as_json: JsonObject = False,
) -> None:
    """Whether outcomes fall below the quantiles and into the bands as often as foretold."""
    _plot("calibration", world, to, domain, variable, issue_time, as_json=as_json)


@plot_app.command("explanation", epilog=example("cubecast plot explanation --world aarhus --domain traffic --lead 3 --to why.png"))
def plot_explanation(
    world: WorldName,
    to: To,
    domain: DomainName = None,
    variable: VariableName = None,
    node: NodeName = None,
    lead: Lead = 1,
    issue_time: IssueTime = None,
    as_json: JsonObject = False,
) -> None:
    """The exact split of one number, and what hiding each input would have changed."""
    _plot("explanation", world, to, domain, variable, issue_time, node=node, lead=lead, as_json=as_json)


def _plot(
    kind: Kind,
    world: str,
    to: Path,
    domain: str | None,
    variable: str | None,
    issue_time: str | None,
    *,
    node: str | None = None,
    lead: int = 1,
    as_json: bool,
) -> None:
    from pipeline.steps.pages import page_inputs
    from pipeline.steps.publications import published_times
    from pipeline.stores.exports import appearing

    if to.suffix not in (".png", ".svg"):
        raise ConfigError(asked=f"--to {to}", found=f"the ending '{to.suffix}'", mend="name a file that ends in .png or .svg")
    loaded, settings = api.load_world(world), read_settings()
    newest = from_seconds(published_times(loaded, settings)[-1])
    page = page_inputs(loaded, settings, to_seconds(read_instant(issue_time, "--issue-time", newest)))
    chosen = _chosen(page, domain, variable, node, lead)
    with appearing(to) as part:
        part.write_bytes(_drawn(kind, page, to.suffix == ".svg", chosen))
    d = page.forecast.domains[str(chosen["domain"])]
    instant = format_instant(from_seconds(page.forecast.issue_time))
    told = {
        "plot": kind,
        "path": str(to.resolve()),
        "world": loaded.name,
        "issue_time": instant,
        **chosen,
        "node": d.node_ids[int(chosen["node"])],
        "notes": page.notes,
    }
    said = f"{kind} of {loaded.name} {chosen['domain']} {chosen['variable']}, issued {instant}: {to.resolve()}"
    say(told, [said, *page.notes], as_json=as_json)


def _drawn(kind: Kind, page: PageInputs, is_svg: bool, chosen: dict[str, str | int]) -> bytes:
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(asked=f"cubecast plot {kind}", found="no module matplotlib", mend="pip install 'cubecast[plots]'")
    from pipeline.publishing.plots import plot_bytes

    return plot_bytes(kind, page, "svg" if is_svg else "png", **chosen)


def _chosen(page: PageInputs, domain: str | None, variable: str | None, node: str | None, lead: int) -> dict[str, str | int]:
    """What is drawn, checked against what the forecast holds."""
    name = one_of("domain", domain, [n for n in page.world.domains if n in page.forecast.domains])
    d = page.forecast.domains[name]
    leads = len(d.lead_time_L)
    if lead > leads:
        raise ConfigError(asked=f"--lead {lead}", found=f"leads 1 to {leads} of domain {name}", mend="choose one of these")
    target = one_of("variable", variable, d.variables)
    return {"domain": name, "variable": target, "node": d.node_ids.index(one_of("node", node, d.node_ids)), "lead": lead - 1}
