# Tables: all bundles of the configuration in one place, in Parquet and CSV.


rule tables:
    """Collect runs, metrics by round, trade-offs and partitions."""
    input:
        training=collect(
            "results/bundles/{bundle}/{file}.parquet",
            bundle=PLAN.bundles,
            file=OF_TRAINING,
        ),
        attacks=collect(
            "results/bundles/{bundle}/{file}.parquet",
            bundle=PLAN.attacked,
            file=OF_ATTACKS,
        ),
        code=CODE["tables"],
    output:
        parquet=collect("results/tables/{table}.parquet", table=TABLES),
        csv=report(
            collect("results/tables/{table}.csv", table=declared.IN_REPORT),
            caption="../report/tables.rst",
            category="3 Tables",
        ),
        more=collect(
            "results/tables/{table}.csv",
            table=[table for table in TABLES if table not in declared.IN_REPORT],
        ),
    log:
        "results/logs/tables.log",
    conda:
        "../../environment.yml"
    params:
        plan=PLAN.digest,
    shell:
        "python -m fedpareto tables --output results/tables &> {log}"
