# Specs: one small file a bundle, named by the hash of what it says.


localrules:
    spec,


rule spec:
    """Write down the runs of one bundle."""
    output:
        "results/specs/{bundle}.json",
    log:
        "results/logs/spec/{bundle}.log",
    conda:
        "../../environment.yml"
    params:
        plan=plan_of_bundle,
    shell:
        "python -m fedpareto spec --plan {params.plan} --bundle {wildcards.bundle} --output {output} &> {log}"
