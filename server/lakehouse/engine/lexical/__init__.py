"""Words: texts as terms, their postings, and BM25. Imports numpy and tantivy: load its parts in a worker thread."""
