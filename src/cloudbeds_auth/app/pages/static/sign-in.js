// The code of a sign-in link is in the fragment, which browsers send nowhere: put it into the form, and send that.
function signIn() {
  const code = location.hash.slice(1);
  if (!code) return;
  history.replaceState(null, "", location.pathname); // it stays in no address, and in no history
  const field = document.getElementById("credential");
  field.value = code;
  field.form.submit();
}
addEventListener("hashchange", signIn);
signIn();
