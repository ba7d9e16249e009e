// Guides come before the reference, however often a name stands there.
var Scorer = {
  score: ([page, title, anchor, words, score]) => score - (page.startsWith("reference/") ? 1000 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
