// Sphinx finds only pages that hold every word of a question, and scores each by one of its words.
// Here a page scores for each word that it holds: in its title, in its headings and in its text. A word scores the more,
// the fewer pages hold it there; in the text also the more, the shorter the page is.
const WEIGHTS = { title: 20, heading: 10, text: 5 };
const DEVELOPERS = new Set(["architecture", "changelog", "contributing", "decisions", "gallery"]);
const shareOf = (page) => DEVELOPERS.has(page) ? 0.5 : page.startsWith("reference/") ? 0.8 : 1;
const LEAST_SHARE = 0.1; // of the best page's score

// The pages with a word, or, if there are none, with a longer word that begins with it.
const pagesWith = (index, word) => {
  if (Object.hasOwn(index, word)) return [index[word]].flat();
  if (word.length < 3) return [];
  return Object.keys(index).filter((known) => known.startsWith(word)).flatMap((known) => index[known]);
};

const titleIndex = (titles) => {
  const stemmer = new Stemmer();
  const index = {};
  titles.forEach((title, page) => {
    for (const word of new Set(splitQuery(title.toLowerCase()))) (index[stemmer.stemWord(word)] ??= []).push(page);
  });
  return index;
};

// The number of different words of each page, of which the average is 1.
const lengths = (terms, count) => {
  const words = new Array(count).fill(0);
  for (const pages of Object.values(terms)) for (const page of [pages].flat()) words[page] += 1;
  const average = words.reduce((sum, number) => sum + number, 0) / count;
  return words.map((number) => number / average);
};

Search.performTermsSearch = (words, excluded) => {
  const { terms, titleterms, titles, docnames, filenames } = Search._index;
  const length = lengths(terms, titles.length);
  const scores = new Map();
  for (const [place, index] of Object.entries({ title: titleIndex(titles), heading: titleterms, text: terms })) {
    for (const word of words) {
      const pages = new Set(pagesWith(index, word));
      const rarity = Math.log((titles.length + 1) / pages.size) / Math.log(titles.length + 1);
      for (const page of pages) {
        const own = WEIGHTS[place] * rarity / (place === "text" ? 0.5 + 0.5 * length[page] : 1);
        scores.set(page, (scores.get(page) ?? 0) + own * shareOf(docnames[page]));
      }
    }
  }
  for (const word of excluded) for (const page of pagesWith(terms, word)) scores.delete(page);
  const least = LEAST_SHARE * Math.max(...scores.values());
  return [...scores]
    .filter(([, score]) => score >= least)
    .map(([page, score]) => [docnames[page], titles[page], "", null, score, filenames[page], SearchResultKind.text]);
};

// Pages and headings that hold the whole question come first.
Scorer.title = 60;

// Names are shown as the pages write them: ds.record, and Layer for a class that only functions return.
const written = (name) => name.replace(/^denoscope\.(?:[a-z_\d]+\.)*(?=[A-Z])/, "").replace(/^denoscope\./, "ds.");

// A name that is asked for as ds.record is found, and first.
const searchObjects = Search.performObjectSearch;
Search.performObjectSearch = (word, words) => {
  const own = new Set([...words].filter((each) => each !== "ds"));
  if (!own.has(word)) return [];
  const exact = `ds.${[...own].join(".")}`;
  return searchObjects(word, own).map(([page, name, anchor, about, score, ...rest]) => {
    const shown = written(name);
    return [page, shown, anchor, about, score + (shown.toLowerCase() === exact ? Scorer.title : 0), ...rest];
  });
};
