// Sphinx scores all headings of a page alike. Here the words of a result's own title count more, and pages for developers less.
const BACKGROUND = ["architecture", "changelog", "contributing", "decisions", "gallery"];

const stems = (text) => {
  const stemmer = new Stemmer();
  return text.toLowerCase().split(/[^a-z0-9]+/).filter((word) => word.length > 2).map((word) => stemmer.stemWord(word));
};

var Scorer = {
  score: ([page, title, , , score]) => {
    const asked = new Set(stems(new URLSearchParams(location.search).get("q") ?? ""));
    const shared = new Set(stems(title).filter((word) => asked.has(word))).size;
    return score + 10 * shared - (BACKGROUND.includes(page) ? 5 : 0);
  },
  // The rest has Sphinx's own values.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
