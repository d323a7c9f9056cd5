// Starts dlir-lsp and hands it the .dlir files that are open.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = () => {
  const settings = workspace.getConfiguration("dlir.server");
  const server = { command: settings.get("command"), args: settings.get("arguments") };
  client = new LanguageClient("dlir", "dlir", server, { documentSelector: [{ language: "dlir" }] });
  return client.start();
};

exports.deactivate = () => client?.stop();
