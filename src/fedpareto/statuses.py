"""How a run ended, in the words of the column `status`."""

from __future__ import annotations

OK = "ok"
DIVERGED = "diverged"
REFUSED = "refused"
LEARNED_NOTHING = "learned_nothing"
# What each says of a run. A run has the first of these that is true of it.
STATUSES = {
    DIVERGED: "its parameters, or their loss on the test set, were not finite: it has no scores",
    REFUSED: "too few clients answered for secure aggregation in every round: its model is the one that it began with",
    LEARNED_NOTHING: "at no evaluation better than its first model, nor than the best prediction that looks at no example",
    OK: "it ended with a model that had learned something",
}
# Those with a model, with scores, and with an epsilon that was spent.
FINISHED = (OK, REFUSED, LEARNED_NOTHING)
