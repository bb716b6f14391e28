# Published results, by name: `snakemake reproduce_tfp-mnist` runs one, `snakemake reproduce` all that a CPU can do.


rule compare:
    """Set the published numbers of one paper beside ours."""
    input:
        paper="config/papers/{paper}.yaml",
        tables=tables_of_paper,
        code=CODE["reproduction"],
    output:
        csv=report(
            "results/reproduce/{paper}/table.csv",
            caption="../report/reproduce.rst",
            category="4 Published against ours",
            subcategory="{paper}",
            labels={"paper": "{paper}", "what": "table"},
        ),
        parquet="results/reproduce/{paper}/table.parquet",
        markdown="results/reproduce/{paper}/table.md",
        svg=report(
            "results/reproduce/{paper}/figure.svg",
            caption="../report/reproduce.rst",
            category="4 Published against ours",
            subcategory="{paper}",
            labels={"paper": "{paper}", "what": "figure"},
        ),
        pdf="results/reproduce/{paper}/figure.pdf",
        png="results/reproduce/{paper}/figure.png",
    log:
        "results/logs/reproduce/{paper}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m fedpareto compare --paper {input.paper} --output results/reproduce/{wildcards.paper} &> {log}"


rule reproduce:
    """Re-run every published result that a CPU can do with data that everybody can fetch, and compare."""
    input:
        collect(
            "results/reproduce/{paper}/table.csv",
            paper=[
                name
                for name, paper in PAPERS.items()
                if paper.device == "cpu" and paper.needs_data is None
            ],
        ),


for name in PAPERS:

    rule:
        name:
            f"reproduce_{name}"
        input:
            f"results/reproduce/{name}/table.csv",
