"""The command line: ``recsys <stage> CONFIG [key=value ...]`` and ways to look at what came out.

Heavy libraries are imported inside the commands, so that ``recsys --help`` answers at once.
"""

import json
import logging
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from recsys import __version__
from recsys.cli_blend import add_blend_command
from recsys.cli_evaluate import add_evaluate_command
from recsys.cli_index import add_index_command
from recsys.cli_knock_out import add_knock_out_command
from recsys.cli_look import add_look_commands
from recsys.cli_notebook import add_notebook_command
from recsys.cli_options import (
    AsJson,
    ConfigFile,
    DryRun,
    EngineName,
    Force,
    Out,
    Overrides,
    Quiet,
    Seeds,
    Verbose,
)
from recsys.cli_recommend import add_recommend_command
from recsys.cli_replay import add_replay_command
from recsys.cli_rerank import add_rerank_command
from recsys.cli_serve import add_serve_commands
from recsys.cli_tune import add_tune_commands
from recsys.cli_update import add_update_command
from recsys.cli_weights import list_encoders, weights_app
from recsys.errors import ConfigError, RecsysError
from recsys.progress import set_quiet

__all__ = ["main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Two towers over ids and content, learnt from your log, served from an Annoy index.",
)
output = Console(highlight=False)  # results go to standard output, bars and messages to the other
errors = Console(stderr=True)  # not silenced by --quiet


def main() -> None:
    """Run the command line; errors a user can act on are one line and an exit code."""
    # Read when torch is imported: threads that wait by spinning halve the speed of a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except ConfigError as error:
        _fail(error, 2)
    except RecsysError as error:
        _fail(error, 1)


def _fail(error: RecsysError, code: int) -> None:
    errors.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
    logging.getLogger("recsys").info("stopped: %s", error)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False,
) -> None:
    if version:
        output.print(f"recsys {__version__}")
        raise typer.Exit


@app.command("init")
def _init(
    files: Annotated[list[Path], typer.Argument(help="A log, and if you have them items, users.")],
    out: Annotated[Path, typer.Option(help="The config to write.")] = Path("recsys.toml"),
    force: Force = False,
) -> None:
    """Look at your files and write a config that fits them, with the reasons."""
    from recsys.data.propose import propose

    if out.exists() and not force:
        raise ConfigError(f"{out}: is there already; take another --out, or --force to replace it")
    proposal = propose(files)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(proposal.toml(relative_to=out.parent), encoding="utf-8")
    for reason in proposal.reasons:
        output.print(escape(reason))
    output.print(f"\nwrote {out}; next: recsys check {out}, then recsys run {out}")


@app.command("check")
def _check(config: ConfigFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say whether the log is fit for this: counts, density, times, duplicates, rejected rows."""
    from recsys.config_file import load_config
    from recsys.stages.check import check_log

    loaded = load_config(config, overrides or ())
    with TemporaryDirectory() as folder:  # what a generator makes, or a long log, is only looked at
        found = check_log(loaded, Path(folder))
    if as_json:
        output.print_json(json.dumps(found.as_dict()))
    else:
        output.print(escape("\n".join(found.lines())), soft_wrap=True)


@app.command("run")
def _run(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    seeds: Seeds = None,
    summary: Annotated[bool, typer.Option(help="Print it at the end.")] = True,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Go the whole way; stages whose inputs and config are as they were are not done again."""
    from recsys.stages.command import Command

    command = Command.of(config, overrides or (), out, seeds)
    if dry_run:
        command.print_plan(output, as_json=as_json)
        return
    _talk(command.out, quiet=quiet, verbose=verbose)
    try:
        failures = command.go(force=force)
    except KeyboardInterrupt:
        errors.print("stopped; what is finished is kept: the same command goes on from there")
        raise
    if as_json:
        output.print_json(json.dumps(command.report()))
    elif summary and not quiet:
        command.print_summary(output)
    _fall_short(failures)


def _fall_short(failures: list[str]) -> None:
    """Say which minimum was missed, and fail."""
    for failure in failures:
        errors.print(f"[red]{escape(failure)}[/red]", soft_wrap=True)
    if failures:
        raise typer.Exit(1)


def _stage_command(name: str, text: str) -> None:
    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        out: Out = None,
        seeds: Seeds = None,
        as_json: AsJson = False,
        dry_run: DryRun = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        _one_stage(name, config, overrides, out, seeds, as_json, dry_run, force, quiet, verbose)

    app.command(name, help=text)(command)


def _one_stage(
    name: str,
    config: Path,
    overrides: list[str] | None,
    out: Path | None,
    seeds: str | None,
    as_json: bool,
    dry_run: bool,
    force: bool,
    quiet: bool,
    verbose: bool,
    **wishes: Any,
) -> None:
    from recsys.stages.command import Command
    from recsys.training.workers import Workers

    command = Command.of(config, overrides or (), out, seeds, **wishes)
    if dry_run:
        command.print_plan(output, (name,), as_json=as_json)
        return
    _talk(command.out, quiet=quiet, verbose=verbose)
    facts = command.stage(name, force=force)
    if not Workers.from_environment().is_first:
        return
    if as_json:
        output.print_json(json.dumps(facts))
    elif not quiet:
        command.print_result(name, facts, output)
    if name == "evaluate":
        _fall_short(command.below_minimum())


_stage_command("prepare", "Read, check and split the log.")


@app.command("embed")
def _embed(
    config: ConfigFile,
    overrides: Overrides = None,
    stats: Annotated[bool, typer.Option("--stats", help="Count, and list the unreadable.")] = False,
    engine: EngineName = "local",
    out: Out = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Encode the content of the items."""
    _one_stage(
        "embed", config, overrides, out, None, as_json, dry_run, force, quiet, verbose,
        engine=engine,
    )  # fmt: skip
    if stats and not dry_run and not as_json:  # the json has all that the table shows
        from recsys.stages.command import Command
        from recsys.stages.embed import print_stats

        print_stats(Command.of(config, overrides or (), out).run, output)


@app.command("probe")
def _probe(
    config: ConfigFile,
    overrides: Overrides = None,
    label: Annotated[
        str | None, typer.Option(help="A column to predict; else that of the categories.")
    ] = None,
    rows: Annotated[Literal["train", "all"], typer.Option(help="Of the log, for the lift.")] = (
        "train"
    ),
    maps: Annotated[bool, typer.Option("--map", help="Draw a map of each content.")] = False,
    copies: Annotated[
        int, typer.Option(min=0, help="Altered copies of each content to recognise, such as 256.")
    ] = 0,
    pairs: Annotated[
        Path | None, typer.Option(help="A csv of two texts and a score, for encoders of text.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "--run", help="The run's folder.")] = None,
    as_json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure how much the vectors of each content know, side by side."""
    from recsys.probing.table import print_probe
    from recsys.stages.command import Command, tell
    from recsys.stages.probe import Asked, probe

    command = Command.of(config, overrides or (), out)
    _talk(command.out, quiet=quiet, verbose=verbose)
    asked = Asked(label=label, rows=rows, maps=maps, copies=copies, pairs=pairs)
    report = probe(command.run, asked, force=force, tell=tell)
    if as_json:
        output.print_json(json.dumps(report))
    else:
        print_probe(report, output)


_stage_command("train", "Train the two towers.")


def _talk(out: Path, *, quiet: bool, verbose: bool) -> None:
    """Messages go to the terminal, and all of them into the run's log file."""
    set_quiet(quiet)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot be made ({error.strerror}); choose another --out"
        ) from None
    logger = logging.getLogger("recsys")
    logger.setLevel(logging.DEBUG)
    terminal = RichHandler(console=errors, show_time=False, show_path=False)
    terminal.setLevel(logging.INFO if verbose else logging.WARNING)
    file = logging.FileHandler(out / "recsys.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.handlers = [terminal, file]


add_index_command(app, _one_stage)
add_recommend_command(app, _one_stage)
add_evaluate_command(app, _one_stage, _talk)
add_blend_command(app)
add_knock_out_command(app, _talk)
add_replay_command(app, _talk)
add_rerank_command(app, _talk)
add_update_command(app, _run)
add_tune_commands(app, _talk)
add_look_commands(app)
add_serve_commands(app)
add_notebook_command(app)
app.command("encoders")(list_encoders)
app.add_typer(weights_app, name="weights")
