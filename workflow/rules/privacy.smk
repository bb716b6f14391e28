# Privacy: what every run of a bundle proves, before anything is trained.


rule account:
    """Build the privacy plan of every run, and prove its epsilon by round."""
    input:
        spec="results/specs/{bundle}.json",
        data=data_to_account,
        code=code_of_bundle("privacy"),
    output:
        "results/privacy/{bundle}.json",
    log:
        "results/logs/account/{bundle}.log",
    conda:
        "../../environment.yml"
    params:
        data=lambda wildcards, input: f"--data {input.data}" if input.data else "",
    shell:
        "python -m fedpareto account --spec {input.spec} {params.data} --output {output} &> {log}"
