/** Runs before the first paint, so that a chosen theme does not flash. */

import { beginTheme } from "./theme.ts";

beginTheme();
