/** The console starts here. */

import { render } from "preact";
import { Console } from "./console.tsx";

const root = document.getElementById("app");
if (root !== null) render(<Console />, root);
