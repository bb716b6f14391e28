# Tables: all bundles of the configuration in one place, in Parquet and CSV.


rule tables:
    """Collect runs, metrics by round, trade-offs and partitions."""
    input:
        runs=collect("results/bundles/{bundle}/runs.parquet", bundle=PLAN.bundles),
        metrics=collect("results/bundles/{bundle}/metrics.parquet", bundle=PLAN.bundles),
        partition=collect(
            "results/bundles/{bundle}/partition.parquet", bundle=PLAN.bundles
        ),
        more=collect(
            "results/bundles/{bundle}/{part}.parquet",
            bundle=PLAN.bundles,
            part=["clients", "curves"],
        ),
        attacks=collect(
            "results/bundles/{bundle}/{part}.parquet",
            bundle=PLAN.attacked,
            part=["attacks", "roc", "pictures"],
        ),
        code=CODE["tables"],
    output:
        parquet=collect("results/tables/{table}.parquet", table=TABLES),
        csv=report(
            collect(
                "results/tables/{table}.csv",
                table=["runs", "tradeoff", "attacks", "recommendation"],
            ),
            caption="../report/tables.rst",
            category="3 Tables",
        ),
        more=collect(
            "results/tables/{table}.csv",
            table=["rounds", "partitions", "clients", "roc", "pictures"],
        ),
    log:
        "results/logs/tables.log",
    conda:
        "../../environment.yml"
    params:
        plan=PLAN.digest,
    shell:
        "python -m fedpareto tables --output results/tables &> {log}"
