# Figures: drawn from the tables alone, so that restyling one never retrains.


rule figure:
    """Draw one figure of one study in SVG, PDF and PNG."""
    input:
        tables=collect("results/tables/{table}.parquet", table=TABLES),
        code=CODE["figures"],
    output:
        svg=report(
            "results/figures/{study}/{figure}.svg",
            caption="../report/{figure}.rst",
            category="1 Trade-off",
            subcategory="{study}",
            labels={"study": "{study}", "figure": "{figure}"},
        ),
        pdf="results/figures/{study}/{figure}.pdf",
        png="results/figures/{study}/{figure}.png",
    log:
        "results/logs/figures/{study}-{figure}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m fedpareto figures --tables results/tables --study {wildcards.study} --figure {wildcards.figure}"
        " --output results/figures/{wildcards.study}/{wildcards.figure} &> {log}"
