# Figures: drawn from the tables alone, so that restyling one never retrains.


rule figure:
    """Draw one figure of one study in SVG, PDF and PNG."""
    input:
        tables=collect("results/tables/{table}.parquet", table=TABLES),
        code=code_of_figure,
    output:
        svg=report(
            "results/figures/{study}/{figure}.svg",
            caption="../report/figure.rst",
            category=category_of_figure,
            subcategory="{study}",
            labels={"study": "{study}", "figure": "{figure}"},
        ),
        pdf="results/figures/{study}/{figure}.pdf",
        png="results/figures/{study}/{figure}.png",
    log:
        "results/logs/figures/{study}-{figure}.log",
    conda:
        "../../environment.yml"
    params:
        title=title_of_study,
        studies=studies_of_figure,
        figure=spec_of_figure,
        caption=caption_of_figure,
    shell:
        "python -m fedpareto figures --tables results/tables --study {params.studies} --figure {params.figure:q}"
        " --title {params.title:q}"
        " --output results/figures/{wildcards.study}/{wildcards.figure} &> {log}"
