// What test_page.py asks of a real Chromium: node page_check.mjs CHROMIUM URL [DIRECTORY FOR SCREENSHOTS]. In the working directory are
// node_modules with playwright-core and axe-core. Prints one object of JSON. A line on stdin when something has happened that the page
// is to show.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const require = createRequire(process.cwd() + "/");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [executablePath, url, shots] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const result = { violations: [], errors: [], wider: [] };

for (const [name, colorScheme, width] of [["light", "light", 1100], ["dark", "dark", 1100], ["phone", "light", 360], ["phone-dark", "dark", 360]]) {
	const page = await browser.newPage({ colorScheme, viewport: { width, height: 800 } });
	page.on("console", (message) => message.type() === "error" && result.errors.push(message.text()));
	page.on("pageerror", (error) => result.errors.push(String(error)));
	await page.goto(url);
	if (shots)
		await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
	if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth))
		result.wider.push(name);
	await page.close();
	// axe is no part of the page: it needs one whose policy is not in force.
	const open = await browser.newContext({ bypassCSP: true, colorScheme, viewport: { width, height: 800 } });
	const other = await open.newPage();
	await other.goto(url);
	await other.evaluate(axe);
	const found = await other.evaluate(() => axe.run());
	result.violations.push(...found.violations.map((one) => `${name}: ${one.id}: ${one.help}: ${one.nodes.map((node) => node.target).join(" ")}`));
	await open.close();
}

const still = await browser.newContext({ javaScriptEnabled: false });
const without = await still.newPage();
await without.goto(url);
result.without = await without.locator("main").innerText();
result.refresh = await without.locator("meta[http-equiv=refresh]").getAttribute("content");
await still.close();

const page = await browser.newPage();
await page.goto(url);
await page.locator("[role=region]").first().focus();
await page.evaluate(() => (window.first = document.querySelector("table")));
console.error("ready");
for await (const line of createInterface({ input: process.stdin })) {
	await page.locator("tbody tr td:nth-child(3)", { hasText: line }).first().waitFor({ timeout: 60000 });
	break;
}
result.kept = await page.evaluate(() => window.first === document.querySelector("table") && document.activeElement.matches("[role=region]"));
console.error("gone?");
await page.locator("#stale").waitFor({ state: "visible", timeout: 60000 });
result.stale = await page.locator("#stale").innerText();
await browser.close();
console.log(JSON.stringify(result));
process.exit(0);
