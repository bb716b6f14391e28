# Attacks: one job a bundle with runs that are attacked. Follow it with `tail -f results/logs/attack/*.log`.


rule attack:
    """Try on the runs of one bundle what the configuration asks for."""
    input:
        runs="results/bundles/{bundle}/runs.parquet",
        privacy="results/privacy/{bundle}.json",
        data=data_of_bundle,
        code=code_of_attacks,
    output:
        attacks="results/bundles/{bundle}/attacks.parquet",
        roc="results/bundles/{bundle}/roc.parquet",
        pictures="results/bundles/{bundle}/pictures.parquet",
    log:
        "results/logs/attack/{bundle}.log",
    benchmark:
        "results/benchmarks/attack/{bundle}.tsv"
    conda:
        "../../environment.yml"
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        attacks=attacks_on_bundle,
    shell:
        "python -m fedpareto attack --plan results/plan.json --bundle {wildcards.bundle} --privacy {input.privacy}"
        " --data {input.data} --output results/bundles/{wildcards.bundle} &> {log}"
