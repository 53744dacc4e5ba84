// One TypeScript client against one server: prints, per check, "ok" or what went wrong, as JSON.
// Arguments: the package's generation (v1, v2), the era (legacy, auto), and {url} or {command, args, env, ended}.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";

const [generation, era, target] = process.argv.slice(2);
const { url, command, args, env, ended } = JSON.parse(target);
const INVALID_PARAMS = -32602;

async function connect() {
  const { Client, StreamableHTTPClientTransport, StdioClientTransport } =
    generation === "v1"
      ? {
          ...(await import("@modelcontextprotocol/sdk/client/index.js")),
          ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
          ...(await import("@modelcontextprotocol/sdk/client/stdio.js")),
        }
      : { ...(await import("@modelcontextprotocol/client")), ...(await import("@modelcontextprotocol/client/stdio")) };
  const client = new Client(
    { name: `typescript-${generation}`, version: "1" },
    era === "auto" ? { versionNegotiation: { mode: "auto" } } : {},
  );
  const transport = url
    ? new StreamableHTTPClientTransport(new URL(url))
    : new StdioClientTransport({ command, args, env, stderr: "ignore" });
  await client.connect(transport);
  return client;
}

const client = await connect();
// The second parameter of v1 is a schema nobody needs to give.
const callTool = (params, options) =>
  generation === "v1" ? client.callTool(params, undefined, options) : client.callTool(params, options);
const call = (name, given, options) => callTool({ name, arguments: given }, options);
const refused = (promise, code) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    return true;
  });

const checks = {
  async version() {
    const agreed = generation === "v1" ? client.transport.protocolVersion : client.getNegotiatedProtocolVersion();
    const expected = era === "auto" ? "2026-07-28" : "2025-11-25";
    // v1 does not say what it agreed on over a pipe.
    assert.equal(agreed, generation === "v1" && !url ? undefined : expected);
    assert.equal(client.getServerVersion().name, "lakehouse");
    assert.match(client.getInstructions(), /datasets/);
  },

  async list() {
    const { tools } = await client.listTools();
    const names = tools.map((tool) => tool.name);
    for (const name of ["list_datasets", "get_manifest", "query_sql", "embed_text", "search_vectors", "test_simple_text"])
      assert.ok(names.includes(name), name);
    for (const tool of tools) {
      assert.ok(tool.description && tool.annotations, tool.name);
      assert.equal(tool.inputSchema.type, "object");
      assert.equal(tool.outputSchema.type, "object");
    }
  },

  // Both clients hold structuredContent against the outputSchema they have listed.
  async call() {
    const result = await call("query_sql", { sql: "SELECT 40 + 2 AS answer" });
    assert.ok(!result.isError, JSON.stringify(result));
    assert.deepEqual(result.structuredContent.rows, [[42]]);
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
  },

  async error() {
    const result = await call("get_manifest", { name: "nothing" });
    assert.equal(result.isError, true);
    assert.match(result.content[0].text, /^not_found: /);
    assert.equal(result._meta["lakehouse/problem"].status, 404);
  },

  async arguments() {
    const result = await call("query_sql", { q: "SELECT 1" });
    assert.equal(result.isError, true);
    assert.match(result.content[0].text, /^invalid_request: .*q: there is no such argument/);
  },

  async unknownTool() {
    await refused(call("no_such_tool", {}), INVALID_PARAMS);
  },

  // The tool reports once, and then waits until it is cancelled. (A report that comes in one read with the result is
  // lost to both clients, which handle it a turn later than the result.)
  async progress() {
    const enough = new AbortController();
    const heard = [];
    const onprogress = (progress) => enough.abort(heard.push(progress));
    await assert.rejects(call("trial_wait", { path: `${ended}-too` }, { signal: enough.signal, onprogress }));
    assert.deepEqual(heard, [{ progress: 1, total: 4, message: "one of four" }]);
  },

  // It writes the file when it is cut short.
  async cancel() {
    const enough = new AbortController();
    const options = { signal: enough.signal, onprogress: () => enough.abort("enough") };
    await assert.rejects(call("trial_wait", { path: ended }, options));
    const deadline = Date.now() + 10_000;
    while (!existsSync(ended)) {
      assert.ok(Date.now() < deadline, "the server did not stop");
      await new Promise((done) => setTimeout(done, 20));
    }
    assert.ok(!(await call("list_datasets", {})).isError);
  },

  async resource() {
    const { resources } = await client.listResources();
    const uris = resources.map((resource) => resource.uri);
    assert.ok(uris.includes("lakehouse://guide") && uris.includes("test://template/12/data"), uris.join(" "));
    const [guide] = (await client.readResource({ uri: "lakehouse://guide" })).contents;
    assert.equal(guide.mimeType, "text/markdown");
    assert.match(guide.text, /query_sql/);
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.ok(resourceTemplates.some((template) => template.uriTemplate === "test://template/{id}/data"));
    const [filled] = (await client.readResource({ uri: "test://template/a%20b/data" })).contents;
    assert.equal(JSON.parse(filled.text).id, "a b");
    const [picture] = (await client.readResource({ uri: "test://static-binary" })).contents;
    assert.deepEqual([...Buffer.from(picture.blob, "base64").subarray(1, 4)], [..."PNG"].map((c) => c.charCodeAt(0)));
    for (const uri of ["lakehouse://nothing", "lakehouse://datasets/nothing", "other://x"])
      await refused(client.readResource({ uri }), INVALID_PARAMS);
  },

  async complete() {
    const prompt = { type: "ref/prompt", name: "test_prompt_with_arguments" };
    const many = (await client.complete({ ref: prompt, argument: { name: "arg1", value: "x" } })).completion;
    assert.deepEqual([many.values.length, many.total, many.hasMore, many.values[0]], [100, 150, true, "x0"]);
    const template = { type: "ref/resource", uri: "test://template/{id}/data" };
    const few = (await client.complete({ ref: template, argument: { name: "id", value: "1" } })).completion;
    assert.deepEqual([few.values, few.total, few.hasMore], [["1", "12"], 2, false]);
    const unknown = { type: "ref/prompt", name: "nothing" };
    await refused(client.complete({ ref: unknown, argument: { name: "x", value: "" } }), INVALID_PARAMS);
  },

  async prompt() {
    const { prompts } = await client.listPrompts();
    assert.ok(prompts.every((prompt) => prompt.description));
    const name = "test_prompt_with_arguments";
    const got = await client.getPrompt({ name, arguments: { arg1: "one", arg2: "two" } });
    assert.match(got.messages[0].content.text, /arg1='one', arg2='two'/);
    await refused(client.getPrompt({ name: "nothing" }), INVALID_PARAMS);
    await refused(client.getPrompt({ name, arguments: { arg1: "one" } }), INVALID_PARAMS);
    await refused(client.getPrompt({ name, arguments: { arg1: "one", arg2: "two", arg3: "x" } }), INVALID_PARAMS);
  },
};

const report = {};
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    report[name] = "ok";
  } catch (error) {
    report[name] = error.stack ?? String(error);
  }
}
await client.close();
console.log(JSON.stringify(report));
