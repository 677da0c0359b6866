import { expect, test } from "vitest";
import { sentence } from "./sentence";

test.each([
  [
    '500 {"error":{"code":"x","message":"it is overloaded","type":"api_error"},"type":"error"}',
    "It is overloaded (500)",
  ],
  ['Error: {"message":"no"}', "No (Error)"],
  ['{"error":"plain"}', "Plain"],
  ["the folder /x cannot be used", "The folder /x cannot be used"],
  ["unexpected { in line 3", "Unexpected { in line 3"],
  ['{"status":5}', '{"status":5}'],
  ["", ""],
])("an error is told in words: %s", (text, told) => {
  expect(sentence(text)).toBe(told);
});
