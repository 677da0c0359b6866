import { createRootRoute, createRoute, createRouter, Outlet } from "@tanstack/react-router";
import { lazy, Suspense, useCallback } from "react";
import { LoginPage } from "./features/login/LoginPage";
import { HomePage } from "./features/shell/HomePage";
import { NotFound } from "./features/shell/NotFound";
import { Shell } from "./features/shell/Shell";

/** Markdown and the conversation are a chunk of their own: the log in needs none of it. */
const ChatPage = lazy(() => import("./features/chat/ChatPage"));

const ActorsPage = lazy(() => import("./features/actors/ActorsPage"));

const PermissionsPage = lazy(() => import("./features/permissions/PermissionsPage"));

const rootRoute = createRootRoute({ component: Outlet, notFoundComponent: NotFound });

const loginRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/login",
  component: LoginPage,
  validateSearch: (search: Record<string, unknown>): { next?: string } => ({
    // Only a path of our own: a log in must never lead to another site.
    next: typeof search.next === "string" && /^\/(?![/\\])/.test(search.next) ? search.next : undefined,
  }),
});

const shellRoute = createRoute({ getParentRoute: () => rootRoute, id: "shell", component: Shell });

const homeRoute = createRoute({ getParentRoute: () => shellRoute, path: "/", component: HomePage });

export const sessionRoute = createRoute({
  getParentRoute: () => shellRoute,
  path: "/s/$sessionId",
  component: function SessionScreen() {
    const { sessionId } = sessionRoute.useParams();
    return (
      <Suspense>
        <ChatPage key={sessionId} sessionId={sessionId} />
      </Suspense>
    );
  },
});

export const actorsRoute = createRoute({
  getParentRoute: () => shellRoute,
  path: "/actors",
  validateSearch: (search: Record<string, unknown>): { at?: string } => ({
    at: typeof search.at === "string" && search.at.startsWith("/") ? search.at : undefined,
  }),
  component: function ActorsScreen() {
    const { at } = actorsRoute.useSearch();
    const navigate = actorsRoute.useNavigate();
    const onAt = useCallback(
      (path: string | null) => void navigate({ search: { at: path ?? undefined }, replace: true }),
      [navigate],
    );
    return (
      <Suspense>
        <ActorsPage at={at ?? null} onAt={onAt} />
      </Suspense>
    );
  },
});

const permissionsRoute = createRoute({
  getParentRoute: () => shellRoute,
  path: "/permissions",
  component: function PermissionsScreen() {
    return (
      <Suspense>
        <PermissionsPage />
      </Suspense>
    );
  },
});

export const router = createRouter({
  routeTree: rootRoute.addChildren([
    loginRoute,
    shellRoute.addChildren([homeRoute, sessionRoute, actorsRoute, permissionsRoute]),
  ]),
  defaultPreload: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
