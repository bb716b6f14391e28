"""Ten lines that train a study, print what each point proves, and draw the front."""

import fedpareto as fp

sweep = fp.plan_sweep(fp.load_config("examples/own.yaml"))
plan = fp.PrivacyPlan(
    fp.PrivacySetting(unit="client", trust="central", sampling="poisson", sampling_rate=0.5),
    population=50, rounds=20, clip_norm=1.0, noise_multiplier=1.2, delta=1e-3,
)  # fmt: skip
print("epsilon of one point:", fp.epsilon(plan).epsilon)
tables = fp.attack(sweep)
print(tables.tradeoff[["model", "noise_multiplier", "accuracy_mean", "epsilon"]].to_string(index=False))
fp.draw("pareto", tables, "own").savefig("front.png")
