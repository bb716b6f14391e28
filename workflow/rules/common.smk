import json
import os
import shlex
import sys
from pathlib import Path

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))
from fedpareto.columns import declared
from fedpareto.components import provenance, registry
from fedpareto.config import papers
from fedpareto.config.load import ConfigError, from_snakemake
from fedpareto.data import facts
from fedpareto.sweep.sweep import plan_sweep
from fedpareto.sweep.components import component_files
from fedpareto.sweep.run import digest
from fedpareto.system import damage, environment, files, jax_settings, paths
from snakemake.exceptions import WorkflowError

# Jobs find this package and this interpreter, whether or not the environment was activated.
environment.share_with_jobs(SOURCE)

try:
    PLAN = plan_sweep(from_snakemake(config, workflow.configfiles))
    PAPERS = papers.read_folder(os.path.relpath(Path(workflow.basedir) / papers.FOLDER))
except ConfigError as error:
    # Where the mistake is stands in the message; where it was noticed helps nobody.
    raise error.with_traceback(None) from None

for folder in paths.FOLDERS:
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise WorkflowError(
            f"{folder} is no folder, and results are written below it: move it away"
        )

# Published results are plans of their own: `sweep` makes none of their runs, `reproduce` nothing else.
PAPER_PLANS = {
    name: plan_sweep(paper.config)
    for name, paper in PAPERS.items()
    if paper.config is not None
}
BUNDLES = PLAN.bundles | {
    name: bundle for one in PAPER_PLANS.values() for name, bundle in one.bundles.items()
}

TABLES = declared.TABLES
# The files in the folder of a bundle, by the stage that writes them.
OF_TRAINING, OF_ATTACKS = (
    [table.file for table in declared.of_stage(stage)] for stage in ("train", "attack")
)

# The code that makes each stage's numbers is an input of its rule: Snakemake sees no edit inside a package otherwise.
CODE = {
    stage: [
        os.path.relpath(path)
        for path in provenance.sources(*(f"fedpareto.{module}" for module in modules))
    ]
    # Types and roles of columns make tables and figures; what is trained and attacked, they do not.
    + [os.path.relpath(declared.FILE)]
    * (stage in ("tables", "figures", "reproduction"))
    for stage, modules in {
        "data": ["data.prepare"],
        "privacy": [
            "federated.inputs.setup",
            "sweep.account",
        ],
        "train": ["federated.train", "federated.store.results"],
        "attack": ["attacks.stage"],
        "tables": ["analysis.tables.build"],
        "figures": ["analysis.figures.draw"],
        "reproduction": [
            "analysis.reproduce",
            "config.papers",
            "privacy.accounting.published",
        ],
    }.items()
}

FIGURE_FILES = [
    paths.figure_file(study, figure, ending)
    for study in (*PLAN.studies, *PLAN.comparisons)
    for figure in PLAN.figures(study)
    for ending in ("svg", "pdf", "png")
]


wildcard_constraints:
    bundle="[0-9a-f]{16}",
    dataset="[A-Za-z0-9_-]+",
    study="[A-Za-z0-9_-]+",
    figure="[a-z]+",
    paper="[A-Za-z0-9_-]+",


def gpu_papers_about_to_train():
    """The papers that want a GPU and have bundles left to train, where this machine is the one that trains."""
    if not workflow.local_exec:
        return []
    bundles = {
        job.wildcards.bundle
        for job in workflow.dag.needrun_jobs()
        if job.rule.name == "train"
    }
    return [
        name
        for name, one in PAPER_PLANS.items()
        if PAPERS[name].device == "gpu" and bundles & set(one.bundles)
    ]


def mend_store():
    """Removes damaged files before Snakemake looks at them, where it is about to make what is not there, and nowhere else."""
    about_to_make = workflow.is_main_process and workflow.executor_plugin is not None
    if MENDED or not about_to_make or workflow.dryrun or workflow.touch:
        return
    MENDED.append(True)
    datasets = {bundle.dataset for bundle in BUNDLES.values()}
    outputs = paths.outputs(
        BUNDLES, datasets, OF_TRAINING + OF_ATTACKS, TABLES, FIGURE_FILES
    )
    runs = {
        name: [run.run_id for run in bundle.runs] for name, bundle in BUNDLES.items()
    }
    try:
        removed = damage.clear(outputs, runs)
    except OSError as error:
        raise WorkflowError(
            f"a damaged file cannot be removed: {error} (`fedpareto doctor` looks at the folder)"
        ) from None
    for path in removed:
        print(
            f"{path} was damaged and is removed; it is made again where it is needed",
            file=sys.stderr,
        )


MENDED = []


def everything(wildcards):
    """What a sweep makes. All files are named, or Snakemake would not miss one whose neighbours are there."""
    mend_store()
    return [
        *paths.bundle_files(PLAN.bundles, OF_TRAINING),
        *paths.bundle_files(PLAN.attacked, OF_ATTACKS),
        *paths.table_files(TABLES),
        *FIGURE_FILES,
    ]


onstart:
    try:
        # Jobs inherit what is left of the shell's settings, and so need not say what was taken.
        jax_settings.settle()
        if (
            os.environ.get("JAX_PLATFORMS", "cpu") != "cpu"
            or "XLA_FLAGS" in os.environ
        ):
            environment.platform()
        wanting = gpu_papers_about_to_train()
        if wanting and environment.trains_on_a_cpu_unasked():
            raise WorkflowError(
                f"{', '.join(wanting)} needs a GPU and JAX sees none (`fedpareto doctor` says what it sees; to train for days on "
                "the CPU all the same, put JAX_PLATFORMS=cpu before the command)"
            )
        files.remove_leftovers(Path(paths.RESULTS))
        # Jobs look their bundle up here. Not an input of any rule: a bundle's name is a hash of its content.
        files.write_text(Path(paths.PLAN_FILE), PLAN.to_json())
        for name, one in PAPER_PLANS.items():
            files.write_text(Path(paths.paper_plan(name)), one.to_json())
    except jax_settings.SettingsError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:
        raise WorkflowError(
            f"the plan cannot be written: {error} (`fedpareto doctor` looks at the folder)"
        ) from None
    print(PLAN.summary(), file=sys.stderr)


def data_of_bundle(wildcards):
    """The prepared data set that a bundle trains on."""
    return paths.data_file(BUNDLES[wildcards.bundle].dataset)


def data_to_account(wildcards):
    """The data set where epsilon depends on the clients' sizes or on the number of parameters; nothing elsewhere."""
    bundle = BUNDLES[wildcards.bundle]
    return [paths.data_file(bundle.dataset)] if bundle.needs_data_to_account else []


def source_of_dataset(wildcards):
    """The user's own file behind a data set; nothing for one that a class loads."""
    options = PLAN.datasets.get(wildcards.dataset, {})
    return [options["path"]] if "path" in options else []


def code_of_dataset(wildcards):
    """The files that prepare a data set: an edit of another one's class prepares this one no more."""
    options = PLAN.datasets.get(wildcards.dataset, {})
    if "path" in options or not (options or wildcards.dataset in facts.registered()):
        return CODE["data"]  # the job says what is wrong with a name that nothing has
    name = options["loader"]["name"] if options else wildcards.dataset
    files = registry.find("dataset", name).files
    return [*CODE["data"], *map(os.path.relpath, files)]


def options_of_dataset(wildcards):
    """Command-line options that describe a user's own data set."""
    return PLAN.dataset_arguments(wildcards.dataset)


def attacks_on_bundle(wildcards):
    """Stands for what is tried on the runs of a bundle: another attack, and they are attacked again."""
    return digest(PLAN.attacks_on(PLAN.bundles[wildcards.bundle]))


def title_of_study(wildcards):
    """Headline of the figures of a study or a comparison."""
    return PLAN.titles[wildcards.study]


def figure_of(wildcards):
    """The component that draws a figure."""
    return registry.find("figure", PLAN.figure(wildcards.study, wildcards.figure))


def category_of_figure(wildcards):
    """Where the report shows a figure."""
    return figure_of(wildcards).constants.get("CATEGORY", "1 Trade-off")


def caption_of_figure(wildcards):
    """What the report says of a figure."""
    figure = figure_of(wildcards)
    return figure.constants.get("CAPTION", figure.doc)


def spec_of_figure(wildcards):
    """What the command line calls a figure."""
    return PLAN.figure(wildcards.study, wildcards.figure)


def code_of_bundle(stage):
    """Input function of a stage: its own files, and those of the components that a bundle's runs name."""

    def files(wildcards):
        own = component_files(BUNDLES[wildcards.bundle].runs)
        return sorted({*CODE[stage], *map(os.path.relpath, own)})

    return files


def code_of_figure(wildcards):
    """The files that draw a figure: an edit of another figure draws this one no more."""
    return sorted({*CODE["figures"], *map(os.path.relpath, figure_of(wildcards).files)})


def code_of_attacks(wildcards):
    """The files that make a bundle's attacks: the stage's, and those of the attacks that are made."""
    attacks = PLAN.attacks_on(PLAN.bundles[wildcards.bundle]).values()
    names = sorted({attack["name"] for wanted in attacks for attack in wanted})
    files = {file for name in names for file in registry.find("attack", name).files}
    return sorted({*CODE["attack"], *map(os.path.relpath, files)})


def studies_of_figure(wildcards):
    """The studies that a figure shows: one, or those of a comparison."""
    return PLAN.comparisons.get(wildcards.study, [wildcards.study])


def plan_of_bundle(wildcards):
    """The file in which a bundle's runs are written down."""
    if wildcards.bundle in PLAN.bundles:
        return paths.PLAN_FILE
    return next(
        paths.paper_plan(name)
        for name, one in PAPER_PLANS.items()
        if wildcards.bundle in one.bundles
    )


def tables_of_paper(wildcards):
    """What the runs of a paper left behind."""
    mend_store()
    bundles = (
        PAPER_PLANS[wildcards.paper].bundles if wildcards.paper in PAPER_PLANS else []
    )
    return collect(
        "results/bundles/{bundle}/{part}.parquet",
        bundle=bundles,
        part=["runs", "metrics"],
    )
