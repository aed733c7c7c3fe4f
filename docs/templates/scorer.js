// Names of the reference come first, then guides; the source notebooks last.
var Scorer = {
  score: ([docname, , , , score]) => score + (docname.startsWith("api/") ? 12 : docname.startsWith("guides/") ? 8 : docname.startsWith("notebooks/") ? -8 : 0),
  objNameMatch: 30, objPartialMatch: 22,
  objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 8, term: 5, partialTerm: 2,
};
