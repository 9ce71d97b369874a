proves!(Go);
