// What every page has. Each module finds its elements by itself and does nothing where there are none.
import "./theme.js";
import "./keyboard.js";
import "./palette.js";
import "./dialogs.js";
import "./times.js";
import "./marks.js";
import "./failures.js";
