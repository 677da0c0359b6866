// The whole application against the fake server, in a page that is not drawn.
import { screen, waitFor } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { ApiError, onUnauthorized, request } from "./lib/api";

function answer(status: number, body: unknown) {
  return vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(JSON.stringify(body), { status }));
}

test("a refused request carries the server's sentence, and 401 is told to whoever listens", async () => {
  const told = vi.fn();
  const stop = onUnauthorized(told);
  answer(401, { error: "log in first", code: "UNAUTHORIZED" });
  await expect(request("GET", "/me")).rejects.toEqual(new ApiError(401, "UNAUTHORIZED", "log in first"));
  expect(told).toHaveBeenCalledTimes(1);
  answer(401, { error: "wrong", code: "UNAUTHORIZED" });
  await expect(request("POST", "/auth/login", {})).rejects.toBeInstanceOf(ApiError);
  expect(told).toHaveBeenCalledTimes(1);
  stop();
});

test("a server out of reach is an error of its own, not a log out", async () => {
  vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("network"));
  await expect(request("GET", "/me")).rejects.toMatchObject({ status: 0, code: "unreachable" });
});

test("who is not logged in gets to the log in, which keeps the address and says what is wrong", async () => {
  const { default: userEvent } = await import("@testing-library/user-event");
  answer(401, { error: "log in first", code: "UNAUTHORIZED" });
  window.history.pushState({}, "", "/s/ses_1");
  document.body.innerHTML = '<div id="root"></div>';
  await import("./main");
  await waitFor(() => screen.getByTestId("login-form"));
  expect(new URL(window.location.href).searchParams.get("next")).toBe("/s/ses_1");
  await userEvent.type(screen.getByLabelText("Username"), "ada");
  await userEvent.type(screen.getByLabelText("Password"), "no{Enter}");
  await waitFor(() => expect(screen.getByTestId("login-error").textContent).toContain("wrong"));
});
