# The questions of ./setup.sh. It asks, shows what it will do, and writes the config file. Sourced.

# ask QUESTION DEFAULT : the answer in $answer.
ask() {
  printf '%s%s%s [%s] ' "$bold" "$1" "$plain" "$2"
  IFS= read -r answer || die "no answer; nothing was changed"
  answer="${answer:-$2}"
}

wizard() {
  local provider='demo' base_url='' key='' model='' api=''
  printf '\n%socto%s: a server for AI coding agents, on your own machine.\n\n' "$bold" "$plain"

  printf 'Mode: this version serves one Linux user: the one you are (%s). Accounts share that user;\n' "$(id -un)"
  printf 'every agent runs in a sandbox. A Linux user for each account is not built yet.\n\n'

  printf 'Models:\n  1  the demo model: no key, no LLM, to look around\n  2  Anthropic, with your key\n  3  OpenAI, with your key\n'
  printf '  4  a server that speaks OpenAI chat completions (Ollama, vLLM, llama.cpp, …)\n'
  while :; do
    ask 'Which?' 1
    case "$answer" in
      1) break ;;
      2) provider=anthropic api=anthropic-messages ;;
      3) provider=openai api=openai-responses ;;
      4)
        provider=local api=openai-completions
        ask 'Its base URL?' 'http://127.0.0.1:11434/v1'
        base_url="$answer"
        [[ "$base_url" =~ ^https?://[^[:space:]\"\\]+$ ]] || {
          note "That is not an http(s) URL."
          continue
        }
        ask 'Name of the model there?' 'llama3.2'
        model="$answer"
        [[ "$model" =~ ^[A-Za-z0-9._:/@-]+$ ]] || {
          note "A model's name has letters, digits and . _ : / @ -"
          continue
        }
        ;;
      *)
        note "Please answer 1, 2, 3 or 4."
        continue
        ;;
    esac
    if [ "$provider" != demo ]; then
      printf '%sKey%s (not shown; empty if none is needed): ' "$bold" "$plain"
      IFS= read -rs key || true
      printf '\n'
      [[ "$key" =~ ^[!-~]*$ ]] && [[ "$key" != *[\"\\]* ]] || {
        note "A key has no spaces, quotes or backslashes."
        continue
      }
      [ -n "$key" ] || [ "$provider" = local ] || {
        note "$provider needs a key."
        continue
      }
    fi
    break
  done

  while :; do
    ask 'Port?' "${port:-8080}"
    [[ "$answer" =~ ^[0-9]+$ ]] && [ "$answer" -ge 1 ] && [ "$answer" -le 65535 ] && break
    note "A port is a number from 1 to 65535."
  done
  port="$answer"

  printf '\nThis will\n'
  have bwrap || printf '  • install the Debian package bubblewrap\n'
  printf '  • install the agents pi and Claude Code with a Node of their own into %s\n' "$AGENTS_DIR"
  printf '  • build octo and install it into %s (link: %s/octo)\n' "$LIB_DIR" "$BIN_DIR"
  if [ -e "$CONFIG_FILE" ]; then
    printf '  • keep your %s as %s.before-setup and write a new one\n' "$CONFIG_FILE" "$CONFIG_FILE"
  else
    printf '  • write %s (readable by you alone)\n' "$CONFIG_FILE"
  fi
  [ -z "$start" ] || printf '  • start octo at http://127.0.0.1:%s\n' "$port"
  ask 'Go ahead?' yes
  case "$answer" in y | Y | yes | Yes | YES) ;; *) die "nothing was changed" ;; esac
  write_config "$provider" "$api" "$base_url" "$key" "$model"
}

write_config() {
  local provider="$1" api="$2" base_url="$3" key="$4" model="$5" new
  mkdir -p "$(dirname "$CONFIG_FILE")"
  chmod 0700 "$(dirname "$CONFIG_FILE")"
  new="$(umask 077 && mktemp "$CONFIG_FILE.XXXXXX")"
  {
    printf '# octo: written by setup.sh. docs/configuration.md lists every key.\n\n[server]\nport = %s\n' "$port"
    if [ "$provider" != demo ]; then
      printf '\n[providers.%s]\napi = "%s"\n' "$provider" "$api"
      [ -z "$base_url" ] || printf 'base_url = "%s"\n' "$base_url"
      [ -z "$key" ] || printf 'api_key = "%s"\n' "$key"
      [ -z "$model" ] || printf 'models = [{ id = "%s" }]\n' "$model"
    fi
    if [ -n "$model" ]; then
      printf '\n[pi]\ndefault_provider = "%s"\ndefault_model = "%s"\n' "$provider" "$model"
    fi
  } >"$new"
  [ ! -e "$CONFIG_FILE" ] || cp -p "$CONFIG_FILE" "$CONFIG_FILE.before-setup"
  mv "$new" "$CONFIG_FILE"
}
