"""Which settings fit a board, and why: sizes, rules, candidates, and what starts have taught. Pure, standard library only, Python 3.8."""
