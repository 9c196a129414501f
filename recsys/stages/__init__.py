"""CONFIG -> FOLDERS: prepare, embed, train, index, recommend, evaluate; each writes one folder."""
